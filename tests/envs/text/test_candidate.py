"""`ErmGym/CandidateGeneration-v0`: rewards, endings, errors, and a frozen LM."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.agents import make_agent
from erm_gym.emotion import CriticError, EmotionalCritic
from erm_gym.envs.text import CandidateGenerationVectorEnv, CandidateOptions, OptionError
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.feedback import (
    Episode,
    Feedback,
    Prompt,
    PromptError,
    PromptPool,
    StanceJudge,
    UserError,
)
from erm_gym.llm import FrozenLLM, LLMError

ENV_ID = "erm_gym:ErmGym/CandidateGeneration-v0"
PROMPTS = ["Hi", "Please help me", "A longer question than those"]


def make(llm: FrozenLLM, num_envs: int = 1, **options: Any) -> VectorEnv:
    defaults = {"prompts": PROMPTS, "k": 6, "max_new_tokens": 4, "critic": None}
    return candidate_generation_vec(num_envs, llm=llm, **{**defaults, **options})


def content(prompt: str, reply: str) -> float:
    """A user who is always fairly content."""
    return 0.5


# -- spaces ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("llm")
def test_gym_make() -> None:
    env = gym.make(ENV_ID, llm="tiny", prompts=PROMPTS, max_new_tokens=3, render_mode="ansi")
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert set(observation) == {
        *("hidden", "prompt_hidden", "logprobs", "candidates", "action_mask", "progress"),
        *("emotion", "fear"),
    }
    assert info["prompt"].text in PROMPTS
    for _ in range(3):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        if terminated:
            break
    assert (terminated or truncated) and "transcript" in info
    env.close()


@pytest.mark.usefixtures("llm")
def test_gym_make_vec() -> None:
    envs = gym.make_vec(ENV_ID, num_envs=3, llm="tiny", prompts=PROMPTS, autoreset_mode="NextStep")
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observations, infos = envs.reset(seed=1)
    assert isinstance(envs.unwrapped, CandidateGenerationVectorEnv)
    assert observations["candidates"].shape == (3, 16)
    assert envs.observation_space.contains(observations)
    assert infos["_prompt"].all()
    envs.close()


def test_shapes_follow_the_options(llm: FrozenLLM) -> None:
    space = make(llm, 2, k=9).single_observation_space
    assert {key: (box.shape, box.dtype) for key, box in space.items()} == {  # type: ignore[attr-defined]
        "hidden": ((32,), np.float32),
        "prompt_hidden": ((32,), np.float32),
        "logprobs": ((9,), np.float32),
        "candidates": ((9,), np.int64),
        "action_mask": ((9,), np.int8),
        "progress": ((1,), np.float32),
    }


# -- observations ----------------------------------------------------------------------------------


def test_observations_equal_an_uncached_forward(llm: FrozenLLM) -> None:
    env = make(llm, prompts=["Please help me"], prior_temperature=0.5, max_new_tokens=5)
    observation, _ = env.reset(seed=0)
    prompt = llm.encode_prompt("Please help me")
    tokens = list(prompt)
    pooled = llm.recompute(prompt)[1][len(llm.template) :].mean(dim=0)
    for step, action in enumerate([1, 4, 0, 2, 0]):
        logits, hidden = llm.recompute(tokens)
        scaled = (logits[-1] / 0.5).log_softmax(-1).numpy()
        order = np.argsort(-scaled)[:6]
        if llm.tokenizer.eos_token_id not in order:
            order[-1] = llm.tokenizer.eos_token_id
        np.testing.assert_array_equal(observation["candidates"][0], order)
        np.testing.assert_allclose(observation["logprobs"][0], scaled[order], atol=1e-3)
        np.testing.assert_allclose(observation["hidden"][0], hidden[-1], atol=1e-3)
        np.testing.assert_allclose(observation["prompt_hidden"][0], pooled, atol=1e-3)
        np.testing.assert_allclose(observation["progress"][0], [step / 5])
        tokens.append(int(order[action]))
        observation, _, terminated, truncated, infos = env.step([action])
        assert not terminated[0]
    assert truncated[0]
    final = infos["final_obs"][0]
    np.testing.assert_allclose(final["hidden"], llm.recompute(tokens)[1][-1], atol=1e-3)
    assert final["progress"] == [1.0]


def test_sequential_prompts_are_dealt_in_turn_and_wrap_around(llm: FrozenLLM) -> None:
    env = make(llm, 2, prompt_order="sequential", max_new_tokens=1, user=content)
    _, infos = env.reset(seed=0)
    dealt = [[prompt.text for prompt in infos["prompt"]]]
    for _ in range(3):
        *_, infos = env.step([0, 0])
        dealt.append([prompt.text for prompt in infos["prompt"]])
    a, b, c = PROMPTS
    assert dealt == [[a, b], [c, a], [b, c], [a, b]]
    _, infos = env.reset(seed=9)
    assert [prompt.text for prompt in infos["prompt"]] == [a, b]


def test_the_split_is_kept(llm: FrozenLLM) -> None:
    pool = PromptPool((Prompt(text="Seen"), Prompt(text="Unseen", split="test")))
    env = make(llm, 8, prompts=pool, split="test")
    assert {prompt.text for prompt in env.reset(seed=0)[1]["prompt"]} == {"Unseen"}
    assert {prompt.split for prompt in make(llm, prompts="default").unwrapped.prompts} == {  # type: ignore[attr-defined]
        "train"
    }


# -- rewards and endings ---------------------------------------------------------------------------


def test_reward_terms_by_hand(llm: FrozenLLM) -> None:
    env = make(llm, prompts=["Hi"], prior_weight=0.25, max_new_tokens=3, user=content)
    observation, _ = env.reset(seed=0)
    rewards, prior = [], []
    for action in (2, 0, 5):
        prior.append(0.25 * float(observation["logprobs"][0, action]))
        observation, reward, *_, infos = env.step([action])
        rewards.append(float(reward[0]))
    assert all(term < 0.0 for term in prior)
    assert rewards == pytest.approx([prior[0], prior[1], prior[2] + 0.5], rel=1e-6)
    terms = infos["final_info"]["reward_terms"]
    assert terms["feedback"][0] == 0.5
    assert terms["prior"][0] == pytest.approx(sum(prior), rel=1e-6)
    assert sum(rewards) == pytest.approx(terms["feedback"][0] + terms["prior"][0], rel=1e-6)


def test_without_prior_weight_only_the_last_step_is_rewarded(llm: FrozenLLM) -> None:
    env = make(llm, prompts=["Hi"], user=content)
    env.reset(seed=0)
    assert [float(env.step([1])[1][0]) for _ in range(8)] == [0, 0, 0, 0.5, 0, 0, 0, 0.5]


def test_an_end_of_turn_terminates_and_the_limit_truncates(llm: FrozenLLM) -> None:
    seen: list[Episode] = []

    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        seen.extend(episodes)
        return [Feedback(score=0.0) for _ in episodes]

    env = make(llm, 2, prompts=["Hi"], k=259, user=user, max_new_tokens=2)
    observation, _ = env.reset(seed=0)
    end = llm.tokenizer.eos_token_id
    stop = int(np.flatnonzero(observation["candidates"][0] == end)[0])
    speak = [int(np.flatnonzero(observation["candidates"][1] == llm.encode_text("a")[0])[0])]
    observation, _, terminated, truncated, infos = env.step([stop, speak[0]])
    assert terminated.tolist() == [True, False] and not truncated.any()
    assert infos["final_info"]["transcript"][0] == ""
    assert seen[0].tokens.tolist() == [end]
    # On the very last step both hold, and the end of the turn is what counts.
    stop = int(np.flatnonzero(observation["candidates"][1] == end)[0])
    *_, terminated, truncated, infos = env.step([1, stop])
    assert (terminated.tolist(), truncated.tolist()) == ([False, True], [False, False])
    assert infos["final_info"]["transcript"][1] == "a"
    assert len(seen[1].tokens) == 2
    *_, terminated, truncated, _ = env.step([1, 1])
    assert (terminated.tolist(), truncated.tolist()) == ([False, False], [True, False])


def test_the_episode_holds_what_was_written(llm: FrozenLLM) -> None:
    env = make(llm, prompts=["Hi"], prior_temperature=0.3)
    observation, _ = env.reset(seed=0)
    tokens, hidden = [], []
    for action in (3, 1, 0, 4):
        tokens.append(int(observation["candidates"][0, action]))
        observation, *_, infos = env.step([action])
        last = "final_obs" in infos
        hidden.append(infos["final_obs"][0]["hidden"] if last else observation["hidden"][0])
    episode: Episode = infos["final_info"]["judged_episode"][0]
    assert episode.tokens.tolist() == tokens
    assert episode.reply == infos["final_info"]["transcript"][0] == llm.decode(tokens)
    assert episode.hidden is not None
    np.testing.assert_array_equal(episode.hidden, hidden)
    assert episode.llm_fingerprint == llm.fingerprint
    prompt = llm.encode_prompt("Hi")
    logprobs = llm.recompute(prompt + tokens)[0].log_softmax(-1)  # temperature 1
    own = [float(logprobs[len(prompt) - 1 + t, token]) for t, token in enumerate(tokens)]
    np.testing.assert_allclose(episode.logprobs, own, atol=1e-3)


def test_the_end_of_the_turn_is_no_part_of_the_text(llm: FrozenLLM) -> None:
    """It is among the tokens, but the judge reads the same hidden states as from the text."""
    env = make(llm, prompts=["Hi"], k=259, max_new_tokens=3)
    observation, _ = env.reset(seed=0)
    for token in (*llm.encode_text("Ho"), llm.tokenizer.eos_token_id):
        action = int(np.flatnonzero(observation["candidates"][0] == token)[0])
        observation, *_, infos = env.step([action])
    episode: Episode = infos["final_info"]["judged_episode"][0]
    assert episode.reply == "Ho" and episode.hidden is not None
    assert (len(episode.tokens), len(episode.logprobs), len(episode.hidden)) == (3, 3, 2)
    judge = StanceJudge.for_llm(llm)
    np.testing.assert_allclose(
        judge.judge_episodes([episode]), judge.judge(["Hi"], ["Ho"]), atol=1e-5
    )


def test_a_batch_of_users_sees_the_rows_that_ended(llm: FrozenLLM) -> None:
    calls: list[int] = []

    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        calls.append(len(episodes))
        return [Feedback(score=episode.seed / 2**31) for episode in episodes]

    def scores(rows: int) -> np.ndarray:
        env = make(llm, rows, user=user, max_new_tokens=2)
        env.reset(seed=5)
        env.step([0] * rows)
        return np.asarray(env.step([0] * rows)[1])

    together = scores(3)
    assert calls == [3]
    assert together[0] == scores(1)[0]  # the seed of an episode does not depend on the batch


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"max_token": 3},
            OptionError,
            "unknown option 'max_token'.*did you mean 'max_new_tokens'",
        ),
        ({"zzz": 3}, OptionError, "unknown option 'zzz'.*there are .*prior_weight"),
        ({"k": 1}, OptionError, "k must be .*at least 2, got 1"),
        ({"k": 260}, OptionError, "k must be at most the vocabulary of tiny, 259, got 260"),
        ({"k": 2.5}, OptionError, "k .*2.5"),
        ({"k": "4"}, OptionError, "k .*'4'"),
        ({"max_new_tokens": 0}, OptionError, "max_new_tokens must be .*at least 1, got 0"),
        ({"max_new_tokens": 600}, OptionError, "max_new_tokens must be at most .*reads 512"),
        ({"max_new_tokens": 2.0}, OptionError, "max_new_tokens .*2.0"),
        ({"prior_temperature": 0}, OptionError, "prior_temperature must be above 0.*, got 0"),
        ({"prior_temperature": math.nan}, OptionError, "prior_temperature must be"),
        ({"prior_temperature": math.inf}, OptionError, "prior_temperature must be"),
        ({"prior_weight": -1}, OptionError, "prior_weight must be at least 0.*, got -1"),
        ({"prior_weight": math.nan}, OptionError, "prior_weight must be at least 0.*, got nan"),
        ({"prior_weight": math.inf}, OptionError, "prior_weight must be"),
        ({"prior_weight": "much"}, OptionError, "prior_weight must be .*'much'"),
        ({"top_p": 0.0}, OptionError, r"top_p must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, OptionError, r"top_p must be in \(0, 1\], got 1.5"),
        ({"seed": -1}, OptionError, "seed must be a whole number >= 0, or None, got -1"),
        ({"fear_clock": "second"}, OptionError, "fear_clock must be one of .*'turn'"),
        ({"prompt_order": "shufled"}, OptionError, "prompt_order must be one of.*'shuffled'"),
        ({"curriculum_key": "lenght"}, OptionError, "curriculum_key must be one of.*'length'"),
        ({"curriculum_episodes": 0}, OptionError, "curriculum_episodes must be a whole .*got 0"),
        ({"split": "all:wepons"}, PromptError, "no domain 'wepons'"),
        (
            {"render_mode": "human"},
            OptionError,
            "render_mode must be .*'rgb_array'.* or None, got 'human'",
        ),
        ({"autoreset_mode": "next"}, OptionError, "autoreset_mode must be one of.*'NextStep'"),
        ({"split": "tests"}, PromptError, "unknown split 'tests'"),
        ({"split": "test"}, PromptError, "no 'test' split; use split='all'"),
        ({"prompts": []}, PromptError, "at least one prompt"),
        ({"prompts": ["Hi", "  "]}, PromptError, "prompt '1' is empty"),
        ({"prompts": "prompts.csv"}, PromptError, "no prompts at 'prompts.csv'"),
        ({"prompts": ["a" * 600]}, LLMError, "reads at most 512.*shorten the prompt"),
        ({"user": "risk-averes"}, UserError, "did you mean 'risk-averse'"),
        ({"user": "no_such_module:user"}, UserError, "cannot import the user"),
        ({"user": 3}, UserError, "no user: it must be a function"),
        ({"user": lambda reply: 0.0}, UserError, "takes 1 arguments"),
        ({"critic": "no/such/critic"}, CriticError, "no/such/critic"),
    ],
)
def test_a_bad_option_is_named(
    llm: FrozenLLM, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make(llm, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"llm": "tinny"}, "did you mean 'tiny'"),
        ({"llm": "tiny", "dtype": "float23"}, "unknown dtype 'float23'"),
        ({"llm": "tiny", "device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_a_bad_model_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LLMError, match=message):
        candidate_generation_vec(1, **options)


@pytest.mark.parametrize("num_envs", [0, -1])
def test_the_number_of_rows_is_positive(llm: FrozenLLM, num_envs: int) -> None:
    with pytest.raises(ValueError, match=f"num_envs must be at least 1, got {num_envs}"):
        make(llm, num_envs)


def test_options_are_frozen_and_keyword_only() -> None:
    options = CandidateOptions(autoreset_mode="Disabled")
    assert options.autoreset_mode is AutoresetMode.DISABLED
    with pytest.raises(AttributeError):
        options.k = 3  # type: ignore[misc]


def test_a_csv_file_is_a_pool(llm: FrozenLLM, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("text,risk\nFrom a file,0.5\n", encoding="utf-8")
    for source in (path, str(path)):
        assert make(llm, prompts=source).reset(seed=0)[1]["prompt"][0].text == "From a file"


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], "actions must be 2 integers"),
        ([[0, 0]], r"shape \(1, 2\)"),
        (0, r"shape \(\)"),
        ([0.0, 1.0], "dtype float64"),
        ([True, False], "dtype bool"),
        (["0", "1"], "dtype <U1"),
        ([0, 6], "action 6 of row 1 is no candidate: there are 6"),
        ([-1, 0], "action -1 of row 0"),
    ],
)
def test_a_bad_action_is_named_and_changes_nothing(
    llm: FrozenLLM, actions: Any, message: str
) -> None:
    env, twin = make(llm, 2), make(llm, 2)
    env.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    for _ in range(5):
        equal(env.step([1, 2]), twin.step([1, 2]))


def test_a_step_before_the_first_reset_asks_for_it(llm: FrozenLLM) -> None:
    with pytest.raises(Exception, match=r"reset"):
        make(llm).step([0])


@pytest.mark.parametrize(
    "mask",
    [np.ones(3, bool), np.ones(2, np.int64), np.zeros(2, bool), [True, False]],
    ids=["length", "dtype", "empty", "list"],
)
def test_a_bad_reset_mask_is_named(llm: FrozenLLM, mask: Any) -> None:
    env = make(llm, 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask must"):
        env.reset(options={"reset_mask": mask})


def test_the_first_reset_and_the_list_of_seeds_are_complete(llm: FrozenLLM) -> None:
    env = make(llm, 2)
    with pytest.raises(ValueError, match="the first reset must be of all rows"):
        env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="one per row, 2, got 3"):
        env.reset(seed=[1, 2, 3])  # type: ignore[arg-type]


# -- users that fail -------------------------------------------------------------------------------


def equal(one: tuple[Any, ...], other: tuple[Any, ...], atol: float = 0.0) -> None:
    """Two results of `step` are the same (of the infos, the prompts and the final infos)."""
    for key, value in one[0].items():
        np.testing.assert_allclose(value, other[0][key], rtol=0.0, atol=atol, err_msg=key)
    for a, b in zip(one[1:4], other[1:4], strict=True):
        np.testing.assert_array_equal(a, b)
    for infos, others in (
        (one[4], other[4]),
        (one[4].get("final_info"), other[4].get("final_info")),
    ):
        assert (infos is None) == (others is None)
        for key in ("prompt", "transcript", "feedback"):
            if infos and key in infos:
                np.testing.assert_array_equal(infos[key], others[key], err_msg=key)


class Moody:
    """Fails in some way while `failure` is set, and is fairly content else."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure

    def __call__(self, prompt: str, reply: str) -> float:
        if isinstance(self.failure, Exception):
            raise self.failure
        return 0.5 if self.failure is None else self.failure


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ZeroDivisionError("no mood today"), "no mood today"),
        (math.nan, "got nan"),
        (1.5, "got 1.5"),
        ("good", "could not convert"),
    ],
    ids=["raises", "nan", "out-of-range", "text"],
)
def test_a_failing_user_leaves_the_rows_as_they_were(
    llm: FrozenLLM, critic: EmotionalCritic, failure: Any, message: str, mode: AutoresetMode
) -> None:
    """The step that failed can be taken again once the user is well, as if nothing had been."""
    user = Moody(failure)
    options: dict[str, Any] = {
        "max_new_tokens": 2,
        "critic": critic,
        "autoreset_mode": mode,
        "prior_weight": 0.1,
    }
    env, twin = (make(llm, 2, user=each, **options) for each in (user, content))
    for each in (env, twin):
        each.reset(seed=0)
        each.step([1, 2])
    for _ in range(2):
        with pytest.raises(UserError, match=message) as caught:
            env.step([3, 4])
        assert any(prompt in str(caught.value) for prompt in PROMPTS)
    user.failure = None
    equal(env.step([3, 4]), twin.step([3, 4]))


def test_after_a_failing_user_a_reset_begins_anew(llm: FrozenLLM) -> None:
    user = Moody(RuntimeError("away"))
    env, twin = make(llm, 2, user=user), make(llm, 2, user=content)
    env.reset(seed=0)
    for _ in range(3):
        env.step([1, 2])
    with pytest.raises(UserError, match="away"):
        env.step([1, 2])
    user.failure = None
    env.reset(seed=7)
    twin.reset(seed=7)
    for _ in range(5):
        equal(env.step([1, 2]), twin.step([1, 2]), atol=1e-4)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "gave 0 answers to 1 episodes"),
        ([0.5], "answered 0.5 to the prompt 'Hi'; expected a Feedback"),
        (None, "failed at the prompt 'Hi'"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_named(llm: FrozenLLM, answers: Any, message: str) -> None:
    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return answers

    env = make(llm, user=user, prompts=["Hi"], max_new_tokens=1)
    env.reset(seed=0)
    with pytest.raises(UserError, match=f"'user' {message}"):
        env.step([0])


# -- the frozen LM ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["emotional-ppo", "feared-dqn"])
def test_training_leaves_the_language_model_and_the_critic_as_they_are(
    llm: FrozenLLM, critic: EmotionalCritic, name: str
) -> None:
    weights = copy.deepcopy(llm.model.state_dict())
    felt = copy.deepcopy(critic.state_dict())
    settings = {"learning_starts": 4} if name == "feared-dqn" else {"n_steps": 4}
    agent = make_agent(name, make(llm, 2, critic=critic), seed=0, **settings)
    before = copy.deepcopy(agent.policy.state_dict())  # type: ignore[union-attr]
    agent.learn(32)
    after = agent.policy.state_dict()  # type: ignore[union-attr]
    assert any(not torch.equal(value, after[key]) for key, value in before.items())  # it learned
    for module, saved in ((llm.model, weights), (critic, felt)):
        assert saved.keys() == module.state_dict().keys()
        for key, value in module.state_dict().items():
            assert torch.equal(value, saved[key]), key
    assert all(parameter.grad is None for parameter in llm.model.parameters())
    assert all(parameter.grad is None for parameter in critic.parameters())
