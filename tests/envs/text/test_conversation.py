"""`ErmGym/Conversation-v0`: turns, rewards and endings, the cache across turns, tonic fear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import (
    CandidateGenerationVectorEnv,
    ConversationOptions,
    ConversationVectorEnv,
    EmotionControlVectorEnv,
    OptionError,
    TextVectorEnv,
    TokenGenerationVectorEnv,
)
from erm_gym.feedback import ConversingUser, Episode, Feedback, UserError, make_user
from erm_gym.llm import FrozenLLM, LLMError
from tests.envs.text.conftest import content, cruel, episodes_of, equal_steps, states_of

END = 257


class Talker:
    """A user that answers by the number of the turn."""

    def __init__(self, answers: Sequence[Feedback]) -> None:
        self.answers = answers
        self.seen: list[Episode] = []

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        self.seen.extend(episodes)
        return [self.answers[len(episode.turns)] for episode in episodes]


def make(llm: FrozenLLM, num_envs: int = 1, **options: Any) -> ConversationVectorEnv:
    defaults = {
        **{"prompts": ["Hi"], "max_new_tokens": 3, "critic": None, "user": content},
        **{"actions": "tokens", "max_turns": 3},
    }
    return ConversationVectorEnv(num_envs, ConversationOptions(llm=llm, **{**defaults, **options}))


def test_the_cache_across_turns_equals_a_recompute_of_it_all(llm: FrozenLLM) -> None:
    """Row 0 ends its turns, row 1 is cut by the limit, row 2 does both in turn."""
    options = {"k": 259, "max_turns": 4, "prior_temperature": 0.6, "user": lambda p, r: 0.0}
    env = make(llm, 3, actions="candidates", **options)
    observations, _ = env.reset(seed=0)
    prompt = llm.encode_prompt("Hi")
    whole = [list(prompt) for _ in range(3)]
    begun = [len(llm.template)] * 3  # where what the user said last begins
    turns, lengths = [0, 0, 0], [0, 0, 0]
    stops = {0: [2, 1, 3, 2], 1: [9, 9, 9, 9], 2: [2, 9, 1, 9]}  # tokens until the turn ends
    both = set()
    for _ in range(10):
        if max(turns) > 3 or min(turns) < 0:
            break
        for row, tokens in enumerate(whole):
            logits, hidden = llm.recompute(tokens)
            logprobs = (logits[-1] / 0.6).log_softmax(-1)[observations["candidates"][row]]
            np.testing.assert_allclose(observations["logprobs"][row], logprobs, atol=1e-3)
            np.testing.assert_allclose(observations["hidden"][row], hidden[-1], atol=1e-3)
            pooled = hidden[begun[row] :] if not lengths[row] else None
            if pooled is not None:
                mean = pooled.mean(0)
                np.testing.assert_allclose(observations["prompt_hidden"][row], mean, atol=1e-3)
            np.testing.assert_allclose(observations["turn"][row], turns[row] / 4)
        wanted = [
            END if lengths[row] + 1 >= stops[row][turns[row]] else 65 + lengths[row]
            for row in range(3)
        ]
        actions = [
            int(np.flatnonzero(observations["candidates"][row] == wanted[row])[0])
            for row in range(3)
        ]
        observations, _, terminated, truncated, infos = env.step(actions)
        if (terminated | truncated).any():
            break
        for row, episode in enumerate(episodes_of(infos, 3)):
            whole[row].append(wanted[row])
            lengths[row] += 1
            if episode is not None:
                both.add((row, wanted[row] == END))
                begun[row] = len(whole[row])
                whole[row] += llm.encode_next_turn(env._rows.said[row], after=wanted[row])
                turns[row] += 1
                lengths[row] = 0
    assert both == {(0, True), (1, False), (2, True), (2, False)}
    assert sorted(turns)[-1] >= 2


def test_the_words_are_what_a_chat_template_makes_of_them(llm: FrozenLLM) -> None:
    """Two turns in one string, up to where the assistant writes the third reply."""
    talker = Talker([Feedback(score=0.0, says="And then?"), Feedback(score=0.0, says="Well.")])
    env = make(llm, user=talker, max_turns=3)
    env.reset(seed=0)
    for token in (*b"Ho", END, *b"Yes"):  # the second reply is cut by the limit
        env.step(np.array([token if token == END else llm.encode_text(chr(token))[0]]))
    expected = llm.encode_prompt(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": "And then?"},
            {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Well."},
        ]
    )
    assert int(env._rows._slots.lengths[0]) == len(expected)
    observation = env.snapshot().view.own
    np.testing.assert_allclose(observation["hidden"][0], llm.recompute(expected)[1][-1], atol=1e-3)


def test_rewards_of_turns_and_the_verdict_add_up(llm: FrozenLLM) -> None:
    answers = [
        Feedback(score=0.5, says="Go on."),
        Feedback(score=-0.25, says="No."),
        Feedback(score=0.125, leaves=True, verdict=-0.5),
    ]
    options: dict[str, Any] = {
        "max_new_tokens": 2,
        "verdict_weight": 2.0,
        "prior_weight": 0.1,
        "max_turns": 5,
    }
    env = make(llm, user=Talker(answers), **options)
    env.reset(seed=0)
    feedback, prior = [], []
    for step in range(6):
        logits = env._writer.hidden_state["logits"][0]
        prior.append(0.1 * float((logits / 0.7).log_softmax(-1)[70 + step]))
        observations, rewards, terminated, truncated, infos = env.step([70 + step])
        feedback.append(float(rewards[0]) - prior[-1])
        over = step == 5
        assert (terminated[0], truncated[0]) == (over, False)
        if step in (1, 3):
            assert infos["feedback"][0] == answers[step // 2].score
            assert "final_info" not in infos
            assert observations["turn"][0, 0] == pytest.approx((step + 1) / 2 / 5)
            assert observations["progress"][0, 0] == 0
    assert feedback == pytest.approx([0, 0.5, 0, -0.25, 0, 0.125 + 2 * -0.5], abs=1e-5)
    final = infos["final_info"]
    terms = {
        name: float(final["reward_terms"][name][0]) for name in ("feedback", "verdict", "prior")
    }
    assert terms["feedback"] == pytest.approx(0.375) and terms["verdict"] == -1.0
    assert terms["prior"] == pytest.approx(sum(prior), abs=1e-5)
    assert sum(terms.values()) == pytest.approx(sum(feedback) + sum(prior), abs=1e-6)
    assert (final["verdict"][0], final["turns"][0]) == (-0.5, 3)
    judged = final["judged_episode"][0]
    assert [turn.feedback for turn in judged.turns] == answers[:2]
    assert [turn.said for turn in judged.turns] == ["Hi", "Go on."] and judged.said == "No."
    last = infos["final_obs"][0]
    assert last["turn"] == last["progress"] == [1.0]
    # The next conversation begins with nothing of this one.
    assert observations["turn"][0, 0] == 0 and not env._rows.turns[0]
    *_, infos = env.step([70])
    for _ in range(5):
        *_, infos = env.step([END])
        if "final_info" in infos:
            break
    assert infos["final_info"]["reward_terms"]["feedback"][0] == pytest.approx(0.375)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_it_is_truncated_after_its_turns(llm: FrozenLLM, mode: AutoresetMode) -> None:
    env = make(llm, max_turns=2, max_new_tokens=1, user=lambda p, r: 0.0, autoreset_mode=mode)
    observations, _ = env.reset(seed=0)
    assert observations["turn"] == 0
    observations, _, terminated, truncated, infos = env.step([70])
    assert not (terminated | truncated).any() and observations["turn"] == 0.5
    assert not infos["judged_episode"][0].last_turn
    observations, _, terminated, truncated, infos = env.step([70])
    assert (terminated[0], truncated[0]) == (False, True)
    same = mode == AutoresetMode.SAME_STEP
    final, info = (infos["final_obs"][0], infos["final_info"]) if same else (observations, infos)
    assert float(final["turn"].item()) == float(final["progress"].item()) == 1.0
    assert info["judged_episode"][0].last_turn and info["turns"][0] == 2
    assert info["verdict"][0] == 0.0  # half the mean score, and neither content nor fed up


def test_it_is_truncated_where_the_context_has_no_room(llm: FrozenLLM) -> None:
    """By what is kept free for the user, who is told; and by what it says beyond that."""
    env = make(llm, max_turns=50, max_new_tokens=60, user=lambda p, r: 0.05)
    env.reset(seed=0)
    replies, truncated = 0, np.zeros(1, bool)
    while not truncated.any():
        before = int(env._rows._slots.lengths[0])
        _, _, terminated, truncated, infos = env.step([70])
        replies += len([one for one in episodes_of(infos, 1) if one is not None])
        assert not terminated.any()
    assert before + 1 <= 512 < before + 1 + 128 + 60
    assert 2 <= replies < 50
    assert infos["final_info"]["judged_episode"][0].last_turn
    talker = Talker([Feedback(score=0.1, says="a" * 350, verdict=None)])
    env = make(llm, user=talker, max_new_tokens=100)
    env.reset(seed=0)
    for _ in range(99):
        env.step([70])
    _, rewards, terminated, truncated, infos = env.step([70])
    assert (terminated[0], truncated[0], rewards[0]) == (False, True, pytest.approx(0.1))
    assert infos["final_info"]["verdict"][0] == 0.0 and not talker.seen[0].last_turn
    assert infos["final_obs"][0]["turn"] == 1.0


def test_without_room_for_a_second_turn_nothing_begins(llm: FrozenLLM) -> None:
    with pytest.raises(OptionError, match=r"no room for a second turn.*lower max_new_tokens"):
        make(llm, max_new_tokens=200)
    make(llm, max_new_tokens=200, max_turns=1)


def test_tonic_fear_lives_on_from_turn_to_turn(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    """Clock `turn`: 0.3 more with every cruel word, and times 0.9 once per turn."""
    options: dict[str, Any] = {"user": cruel, "max_turns": 2, "max_new_tokens": 2}
    options["autoreset_mode"] = "NextStep"
    for keep in (False, True):
        env = make(llm, critic=critic, keep_tonic_fear=keep, **options)
        observations, _ = env.reset(seed=0)
        tonic = 0.0
        for _ in range(3):
            for turn in range(2):
                assert observations["fear"][0, 1] == pytest.approx(tonic)
                observations, *_ = env.step([70])
                assert observations["fear"][0, 1] == pytest.approx(tonic)
                observations, _, terminated, truncated, _ = env.step([70])
                felt = min(1.0, tonic + 0.3)
                tonic = 0.9 * felt
                over = bool((terminated | truncated)[0])
                assert over == (turn == 1)
                assert observations["fear"][0, 1] == pytest.approx(felt if over else tonic)
            observations, *_ = env.step([70])  # begins anew
            tonic = tonic if keep else 0.0
        again, _ = env.reset(seed=0)
        assert again["fear"][0, 1] == 0.0


def test_the_critic_reads_what_the_user_says(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    """By hand over two turns: prompt, tokens, feedback with the last, words, tokens."""
    critic = feeling_critic
    env = make(llm, critic=critic, max_new_tokens=2, user=lambda p, r: -0.6)
    observations, _ = env.reset(seed=0)
    state = critic.initial_state(1)
    whole: list[int] = []

    def read(new: list[int], feedback: float = np.nan) -> torch.Tensor:
        """All positions of what is new at once; the clock ticks with the feedback."""
        nonlocal state
        before = max(len(whole) - len(llm.template), 0)
        whole.extend(new)
        hidden = states_of(llm, critic, whole)[:, before:]
        tick = torch.tensor([not np.isnan(feedback)])
        with torch.no_grad():
            signals, fear, state = critic.observe(hidden, state, torch.tensor([feedback]), tick)
        return torch.cat([signals.tensor, fear], -1)

    def check(felt: torch.Tensor) -> None:
        seen = np.concatenate([observations["emotion"], observations["fear"]], -1)
        np.testing.assert_allclose(seen, felt, atol=1e-5)

    check(read(llm.encode_prompt("Hi")))
    observations, *_ = env.step([70])
    check(read([70]))
    observations, *_ = env.step([71])
    read([71], feedback=-0.6)
    check(read(llm.encode_next_turn(env._rows.said[0], after=71)))
    observations, *_ = env.step([72])
    check(read([72]))


def test_actions_are_those_of_the_environment_of_that_name(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    kinds: dict[str, spaces.Space[Any]] = {
        "candidates": spaces.Discrete(5),
        "tokens": spaces.Discrete(259),
        "control": spaces.Box(-1, 1, (8,), np.float32),
    }
    for actions, space in kinds.items():
        env = make(llm, 2, actions=actions, k=5, critic=critic)
        assert env.single_action_space == space
        seen = set(env.reset(seed=0)[0])
        assert {"turn", "hidden", "prompt_hidden", "progress", "emotion", "fear"} <= seen
        assert ("candidates" in seen) == (actions == "candidates")
        assert ("last_hidden" in seen) == (actions == "tokens")
    with pytest.raises(OptionError, match=r"actions must be one of .*'control'.*got 'words'"):
        make(llm, actions="words")
    with pytest.raises(OptionError, match="needs a critic"):
        make(llm, actions="control", critic=None)


def test_a_plain_function_is_given_words(llm: FrozenLLM) -> None:
    env = make(llm, max_new_tokens=1, user=lambda prompt, reply: 0.9, max_turns=9)
    env.reset(seed=0)
    *_, infos = env.step([70])
    said = env._rows.said[0]
    assert said and infos["feedback"][0] == 0.9
    _, rewards, terminated, truncated, infos = env.step([71])
    assert (terminated[0], truncated[0]) == (True, False)  # two good replies are enough
    assert infos["final_info"]["verdict"][0] == pytest.approx(0.95)
    assert rewards[0] == pytest.approx(0.9 + 0.95)
    assert infos["final_info"]["judged_episode"][0].said == said


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (RuntimeError("no mood"), UserError, "no mood"),
        (Feedback(score=0.0, says=" \n"), LLMError, "says nothing"),
    ],
    ids=["raises", "says-nothing"],
)
def test_a_user_that_fails_in_turn_two_leaves_the_rows_as_they_were(
    llm: FrozenLLM,
    feeling_critic: EmotionalCritic,
    answer: Any,
    error: type[Exception],
    message: str,
) -> None:
    """Row 1 is in its second turn when it fails, row 0 at the end of its first reply."""

    def build(failing: Callable[[], bool]) -> ConversationVectorEnv:
        def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
            answers = [Feedback(score=-0.6, says=f"Turn {len(one.turns)}") for one in episodes]
            for index, one in enumerate(episodes):
                if one.turns and failing():
                    if isinstance(answer, Exception):
                        raise answer
                    answers[index] = answer
            return answers

        options = {"user": user, "critic": feeling_critic, "prior_weight": 0.1, "max_turns": 3}
        return make(llm, 2, **options)

    ill = True
    env, twin = build(lambda: ill), build(lambda: False)
    for each in (env, twin):
        each.reset(seed=0)
        for actions in ([70, END], [71, 72]):
            each.step(np.array(actions))
    for _ in range(2):
        with pytest.raises(error, match=message):
            env.step([72, END])
        assert [len(turns) for turns in env._rows.turns] == [0, 1]
    ill = False
    for actions in ([72, END], [73, 74], [END, END], [75, 76], [END, END]):
        equal_steps(env.step(np.array(actions)), twin.step(np.array(actions)))


def test_the_randomness_of_a_user_is_new_in_every_turn(llm: FrozenLLM) -> None:
    draws: list[float] = []

    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        draws.append(float(rng.random()))
        return [Feedback(score=0.0) for _ in episodes]

    env = make(llm, user=user, max_new_tokens=1)
    for _ in range(2):
        env.reset(seed=0)
        for _ in range(3):
            env.step([70])
    assert draws[:3] == draws[3:] and len(set(draws)) == 3


def test_the_dice_of_control_are_not_those_of_the_user(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    """The user's patience and words are drawn from the seed and the turn, too."""
    env = make(llm, actions="control", critic=critic, tokens_per_action=1)
    env.reset(seed=0)
    env.step(np.zeros((1, 8), np.float32))
    dice = env._writer.hidden_state["dice"][0].copy()
    for turn in range(3):
        theirs = np.random.default_rng([int(env._rows.state.seeds[0]), turn]).random(3)
        assert not np.isin(theirs, dice).any()
    env.step(np.zeros((1, 8), np.float32))
    env.step(np.zeros((1, 8), np.float32))
    env.step(np.zeros((1, 8), np.float32))
    assert len(env._rows.turns[0]) == 1
    assert not np.isin(env._writer.hidden_state["dice"][0], dice).any()


@pytest.mark.parametrize(
    ("user", "named"),
    [
        ("risk-averse | delay(2)", r"delay\(2\)"),
        ("0.5*risk-averse + 0.5*(risk-averse | drift(-0.1))", r"drift\(-0.1\)"),
        ("outcome(delay=1)", "delay of outcome"),
        ("outcome(becomes=anxious, delay=1) | noise(0.1)", "delay of outcome, becomes of outcome"),
    ],
)
def test_what_needs_turns_is_refused_where_there_is_one(
    llm: FrozenLLM, user: str, named: str
) -> None:
    kinds: tuple[type[TextVectorEnv[Any]], ...]
    kinds = (CandidateGenerationVectorEnv, TokenGenerationVectorEnv, EmotionControlVectorEnv)
    for kind in kinds:
        message = f"{named}, which needs .* several turns; in {kind.env_id} .*Conversation-v0"
        with pytest.raises(OptionError, match=message):
            kind.from_keywords(1, {"llm": llm, "user": user, "critic": None})
    with pytest.raises(OptionError, match=f"{named}.* with max_turns=1"):
        make(llm, user=user, max_turns=1)
    make(llm, user=user, max_turns=2).close()


def test_users_that_need_no_turns_are_welcome_everywhere(llm: FrozenLLM) -> None:
    for user in ("outcome(persona=mixture) | noise(0.1)", ConversingUser(make_user(content, llm))):
        CandidateGenerationVectorEnv.from_keywords(
            1, {"llm": llm, "user": user, "critic": None}
        ).close()
