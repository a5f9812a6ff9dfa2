"""The critic in the observation: by hand over an episode, in all three autoreset modes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.emotion import CriticConfig, CriticError, EmotionalCritic, ERMConfig, FearConfig
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.llm import FrozenLLM
from tests.envs.text.conftest import states_of

PROMPTS = ["Hi", "Please help me"]


def make(llm: FrozenLLM, critic: EmotionalCritic, num_envs: int = 2, **options: Any) -> VectorEnv:
    defaults = {"prompts": PROMPTS, "k": 6, "max_new_tokens": 3, "user": score(0.0)}
    return candidate_generation_vec(num_envs, llm=llm, critic=critic, **{**defaults, **options})


def score(value: float) -> Any:
    def user(prompt: str, reply: str) -> float:
        return value

    return user


def test_emotion_and_fear_are_in_the_spaces(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    env = make(llm, critic)
    single = env.single_observation_space
    assert isinstance(single, spaces.Dict)
    assert single["emotion"] == spaces.Box(0.0, 1.0, (6,), np.float32)
    assert single["fear"] == spaces.Box(0.0, 1.0, (2,), np.float32)
    assert env.observation_space == batch_space(single, 2)
    observations, _ = env.reset(seed=0)
    assert env.observation_space.contains(observations)
    without = candidate_generation_vec(2, llm=llm, critic=None, prompts=PROMPTS)
    assert set(observations) - set(without.reset(seed=0)[0]) == {"emotion", "fear"}


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_the_critic_by_hand(
    llm: FrozenLLM, feeling_critic: EmotionalCritic, mode: AutoresetMode
) -> None:
    """Row by row: the prompt at once, then token by token, feedback with the last one."""
    critic = feeling_critic
    lengths = [3, 2]  # row 1 ends its turn early, so that the rows are out of step
    env = make(llm, critic, k=259, user=score(-0.8), autoreset_mode=mode)
    stop = llm.tokenizer.eos_token_id

    def felt(observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([observation["emotion"], observation["fear"]])

    def by_hand(
        observation: dict[str, np.ndarray], row: int, hidden: torch.Tensor, feedback: float = np.nan
    ) -> None:
        with torch.no_grad():
            signals, fear, states[row] = critic.observe(
                hidden, states[row], torch.tensor([feedback])
            )
        expected = torch.cat([signals.tensor[0], fear[0]]).numpy()
        np.testing.assert_allclose(felt(observation), expected, atol=1e-5)

    def row_of(observations: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
        return {key: value[row] for key, value in observations.items()}

    def begin(row: int) -> None:
        states[row] = critic.initial_state(1)
        whole[row] = llm.encode_prompt(infos["prompt"][row].text)
        by_hand(row_of(observations, row), row, states_of(llm, critic, whole[row]))
        steps[row] = 0

    whole: list[list[int]] = [[], []]
    states = [critic.initial_state(1) for _ in range(2)]
    steps = [0, 0]
    finished = [False, False]
    episodes = 0
    observations, infos = env.reset(seed=0)
    for row in range(2):
        begin(row)
    for _ in range(9):
        actions, written = [], []
        for row in range(2):
            ends = lengths[row] < 3 and steps[row] == lengths[row] - 1
            candidates = observations["candidates"][row]
            actions.append(int(np.flatnonzero(candidates == stop)[0]) if ends else 1)
            written.append(int(candidates[actions[row]]))
        before = list(finished)
        observations, _, terminated, truncated, infos = env.step(actions)
        done = terminated | truncated
        for row in range(2):
            if mode == AutoresetMode.NEXT_STEP and before[row]:
                begin(row)
                finished[row] = False
                continue
            steps[row] += 1
            whole[row].append(written[row])
            assert done[row] == (steps[row] == lengths[row])
            final = done[row] and mode == AutoresetMode.SAME_STEP
            own = infos["final_obs"][row] if final else row_of(observations, row)
            last = states_of(llm, critic, whole[row])[:, -1:]
            by_hand(own, row, last, -0.8 if done[row] else np.nan)
            finished[row] = bool(done[row])
            episodes += finished[row]
            if final:
                begin(row)
        if mode == AutoresetMode.DISABLED and done.any():
            observations, infos = env.reset(options={"reset_mask": done})
            for row in np.flatnonzero(done).tolist():
                begin(row)
    assert episodes >= 4


@pytest.mark.parametrize(
    ("feedback", "tonic"), [(-1.0, 0.3), (-0.51, 0.3), (-0.5, 0.0), (0.0, 0.0), (1.0, 0.0)]
)
def test_painful_feedback_raises_tonic_fear_in_the_final_observation(
    llm: FrozenLLM, critic: EmotionalCritic, feedback: float, tonic: float
) -> None:
    env = make(llm, critic, user=score(feedback))
    observations, _ = env.reset(seed=0)
    for _ in range(3):
        np.testing.assert_array_equal(observations["fear"][:, 1], 0.0)
        observations, _, _, truncated, infos = env.step([0, 0])
    assert truncated.all()
    for final in infos["final_obs"]:
        assert final["fear"][1] == pytest.approx(tonic)
        assert final["emotion"][4] >= tonic - 1e-6  # anxiety is at least tonic fear
        assert env.single_observation_space.contains(final)
    np.testing.assert_array_equal(observations["fear"][:, 1], 0.0)  # the next episode is calm


def test_tonic_fear_outlives_an_episode_if_the_critic_keeps_it(llm: FrozenLLM) -> None:
    """Three painful replies of one token: 0.3, then each step decays it by 0.9."""
    critic = EmotionalCritic.for_llm(llm, keep_tonic_fear=True)
    env = make(llm, critic, 1, user=score(-1.0), max_new_tokens=1)
    observations, _ = env.reset(seed=0)
    tonic = 0.0
    for _ in range(3):
        assert observations["fear"][0, 1] == pytest.approx(tonic)
        tonic = 0.9 * tonic + 0.3  # the prompt was a step, too
        observations, *_, infos = env.step([0])
        assert infos["final_obs"][0]["fear"][1] == pytest.approx(tonic)
        tonic *= 0.9


@pytest.mark.parametrize("clock", ["turn", "episode"])
def test_a_slow_clock_does_not_tick_with_tokens(llm: FrozenLLM, clock: Any) -> None:
    """Tonic fear of .3 decays by .9 when the reply, which is the episode, ends; then stays."""
    for options, critic in (
        ({"fear_clock": clock, "keep_tonic_fear": True}, EmotionalCritic.for_llm(llm)),
        ({}, EmotionalCritic.for_llm(llm, keep_tonic_fear=True, fear=FearConfig(clock=clock))),
    ):
        env = make(llm, critic, 1, user=score(-1.0), max_new_tokens=2, **options)
        env.reset(seed=0)
        env.step([0])
        observations, *_, infos = env.step([0])
        assert infos["final_obs"][0]["fear"][1] == pytest.approx(0.3)
        assert observations["fear"][0, 1] == pytest.approx(0.27)
        observations, *_ = env.step([0])
        assert observations["fear"][0, 1] == pytest.approx(0.27)
        *_, infos = env.step([0])
        assert infos["final_obs"][0]["fear"][1] == pytest.approx(0.57)


def test_a_reset_mask_leaves_the_feelings_of_other_rows(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    env, twin = (make(llm, feeling_critic, 3, max_new_tokens=6) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
        before = each.step([1, 2, 3])[0]
    mask = np.array([False, True, False])
    after, _ = env.reset(seed=[None, 77, None], options={"reset_mask": mask})  # type: ignore[arg-type]
    for key in ("emotion", "fear"):
        np.testing.assert_array_equal(after[key][~mask], before[key][~mask])
        assert not np.allclose(after[key][1], before[key][1])
    mine, others = env.step([0, 0, 0])[0], twin.step([0, 0, 0])[0]
    for key in ("emotion", "fear"):
        np.testing.assert_allclose(mine[key][~mask], others[key][~mask], atol=1e-5)


def test_a_refused_step_does_not_move_the_critic(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    env, twin = (make(llm, feeling_critic) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match="no candidate"):
        env.step([0, 99])
    np.testing.assert_array_equal(env.step([0, 1])[0]["emotion"], twin.step([0, 1])[0]["emotion"])


def test_the_critic_is_neither_trained_nor_changed(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    saved = {key: value.clone() for key, value in critic.state_dict().items()}
    env = make(llm, critic)
    env.reset(seed=0)
    for _ in range(5):
        env.step([0, 1])
    assert all(torch.equal(value, saved[key]) for key, value in critic.state_dict().items())


def test_a_critic_of_another_width_is_refused(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    sizes = {"hidden_size": 8, "vocab_size": 259, "layer": 2, "erm": ERMConfig(layers=(1, 2))}
    other = EmotionalCritic(CriticConfig(llm_name="other", llm_fingerprint="0", **sizes))  # type: ignore[arg-type]
    with pytest.raises(CriticError, match=r"width 8, .*32.*critic of 'other'"):
        make(llm, other)


def test_a_critic_of_layers_that_are_not_there_is_refused(llm: FrozenLLM) -> None:
    with pytest.raises(CriticError, match="reads layer 9, but 'tiny' has only 4"):
        make(llm, EmotionalCritic.for_llm(llm, erm=ERMConfig(layers=(1, 9))))


def test_critics_by_name(llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Any) -> None:
    untrained = resolve_critic("default", llm)  # nothing is shipped for the tiny model
    assert not untrained.config.trained and untrained.config.hidden_size == 32
    critic.save_pretrained(tmp_path / "mine")
    loaded = resolve_critic(str(tmp_path / "mine"), llm)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in critic.state_dict().items())
    env = gym.make_vec(
        "erm_gym:ErmGym/CandidateGeneration-v0", num_envs=1, llm=llm, critic=str(tmp_path / "mine")
    )
    assert set(env.reset(seed=0)[0]) > {"emotion", "fear"}


def test_a_critic_for_another_model_is_refused(
    llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Any
) -> None:
    other = EmotionalCritic(replace(critic.config, llm_fingerprint="another-model"))
    other.save_pretrained(tmp_path)
    with pytest.raises(CriticError, match="another-model"):
        resolve_critic(str(tmp_path), llm)
