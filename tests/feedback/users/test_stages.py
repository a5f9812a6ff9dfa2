"""What becomes of feedback behind a `|`: by hand, and whatever is drawn belongs to the episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback import (
    Episode,
    Feedback,
    Prompt,
    Turn,
    UserError,
    make_conversing_user,
    make_user,
)
from erm_gym.feedback.users import (
    STAGES,
    Batched,
    Cached,
    Clipped,
    Drift,
    Expression,
    Flip,
    Given,
    Noise,
    Sparse,
    Stage,
)
from erm_gym.llm import FrozenLLM

HI = Prompt(text="Hi")


class Scripted:
    """Answers with the number that a reply is, and keeps what it was asked."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.asked: list[list[str]] = []

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        self.asked.append([episode.reply for episode in episodes])
        return [self.answer(float(episode.reply)) for episode in episodes]

    def answer(self, score: float) -> Feedback:
        parts = {"tone": score - 0.1, "length": 0.1}
        return Feedback(score=score, components=parts, stance="hedge", says="Well", **self.changes)


def episode(reply: float, seed: int = 0, earlier: Sequence[float] = (), **more: Any) -> Episode:
    turns = tuple(
        Turn(said="x", reply=str(each), feedback=Feedback(score=0.0, says="Go on"))
        for each in earlier
    )
    return Episode(prompt=HI, reply=str(reply), seed=seed, turns=turns, **more)


def ask(expression: Any, llm: FrozenLLM, *episodes: Episode) -> list[Feedback]:
    return make_user(expression, llm)(list(episodes), np.random.default_rng(0))


def piped(*stages: Stage) -> Expression:
    user: Expression = Given(user=Scripted())
    for stage in stages:
        user = user | stage
    return user


def test_noise_has_its_scale_and_is_itemised(llm: FrozenLLM) -> None:
    asked = [episode(0.1, seed) for seed in range(2000)]
    scores = []
    for answer in ask(piped(Noise(scale=0.2)), llm, *asked):
        scores.append(answer.score)
        assert answer.components["noise"] == pytest.approx(answer.score - 0.1)
        assert (answer.stance, answer.says) == ("hedge", "Well")
    assert np.mean(scores) == pytest.approx(0.1, abs=0.02)
    assert np.std(scores) == pytest.approx(0.2, abs=0.01)
    assert ask(piped(Noise(scale=0.0)), llm, asked[0])[0].score == 0.1
    cut = [answer.score for answer in ask(piped(Noise(scale=9.0)), llm, *asked[:50])]
    assert {min(cut), max(cut)} == {-1.0, 1.0}


def test_sparse_is_silent_but_for_some(llm: FrozenLLM) -> None:
    answers = ask(piped(Sparse(p=0.3)), llm, *(episode(0.5, seed) for seed in range(2000)))
    assert np.mean([answer.given for answer in answers]) == pytest.approx(0.3, abs=0.03)
    silent = next(answer for answer in answers if not answer.given)
    assert (silent.score, dict(silent.components)) == (0.0, {})
    assert (silent.stance, silent.says) == ("hedge", "Well")
    assert next(answer for answer in answers if answer.given) == Scripted().answer(0.5)
    assert not ask(piped(Sparse(p=0.0)), llm, episode(0.5))[0].given
    assert ask(piped(Sparse(p=1.0)), llm, episode(0.5))[0].given


def test_flip_turns_the_sign_of_some(llm: FrozenLLM) -> None:
    answers = ask(piped(Flip(p=0.25)), llm, *(episode(0.5, seed) for seed in range(2000)))
    assert np.mean([answer.score == -0.5 for answer in answers]) == pytest.approx(0.25, abs=0.03)
    flipped = next(answer for answer in answers if answer.score < 0)
    assert flipped.components == {"tone": -0.4, "length": -0.1}
    assert {answer.score for answer in answers} == {0.5, -0.5}


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (Drift(rate=0.1), [0.5, 0.6, 0.7, 0.8]),
        (Drift(rate=-0.5, start=0.2), [0.7, 0.2, -0.3, -0.8]),
        (Drift(rate=0.2, start=-0.2, end=0.1), [0.3, 0.5, 0.6, 0.6]),
        (Drift(rate=-0.5, end=-0.7), [0.5, 0.0, -0.2, -0.2]),
        (Drift(rate=0.4), [0.5, 0.9, 1.0, 1.0]),
    ],
)
def test_drift_by_hand(llm: FrozenLLM, drift: Drift, expected: list[float]) -> None:
    asked = [episode(0.5, earlier=[0.0] * turns) for turns in range(4)]
    answers = ask(piped(drift), llm, *asked)
    assert [answer.score for answer in answers] == pytest.approx(expected)


def test_clipped_by_hand(llm: FrozenLLM) -> None:
    asked = [episode(score) for score in (-1.0, 0.1, 0.9)]
    low, within, high = ask(piped(Clipped(low=-0.5, high=0.2)), llm, *asked)
    assert (low.score, within.score, high.score) == (-0.5, 0.1, 0.2)
    assert low.components["clipped"] == 0.5 and high.components["clipped"] == pytest.approx(-0.7)
    assert within == Scripted().answer(0.1)


def test_a_plain_score_becomes_a_component_of_the_user_s_name(llm: FrozenLLM) -> None:
    def bland(prompt: str, reply: str) -> float:
        return 0.25

    answer = ask(Given(user=bland) | Drift(rate=0.0, start=0.5), llm, episode(0.0))[0]
    assert answer.components == {"bland": 0.25, "drift": 0.5}


def test_cached_asks_once_about_the_same(llm: FrozenLLM) -> None:
    user = Scripted()
    made = make_user(Given(user=user) | Cached(size=2), llm)
    rng = np.random.default_rng(0)

    def scores(*replies: float) -> list[float]:
        return [answer.score for answer in made([episode(reply) for reply in replies], rng)]

    assert scores(0.1, 0.2, 0.1) == [0.1, 0.2, 0.1]
    assert scores(0.2, 0.1) == [0.2, 0.1]
    assert user.asked == [["0.1", "0.2"]]
    assert scores(0.3) == [0.3]  # 0.2 was asked for before 0.1, and goes
    assert scores(0.1) == [0.1]
    assert user.asked == [["0.1", "0.2"], ["0.3"]]
    assert scores(0.2) == [0.2]
    assert user.asked[-1] == ["0.2"]
    assert scores(0.5, 0.6, 0.7) == [0.5, 0.6, 0.7]  # more than are kept


def test_what_is_another_question_is_asked_again(llm: FrozenLLM) -> None:
    user = Scripted()
    made = make_user(Given(user=user) | Cached(), llm)
    same = episode(0.1)
    others = [
        replace(same, seed=3),
        replace(same, prompt=Prompt(text="Hi", risk=1.0)),
        replace(same, last_turn=False),
        episode(0.1, earlier=[0.3]),
    ]
    made([same, *others], np.random.default_rng(0))
    assert len(user.asked[0]) == 4  # the seed makes no other question


class Absent(Scripted):
    """Does not answer at first, as a user elsewhere that is down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True

    def answer(self, score: float) -> Feedback:
        missing = Feedback(score=0.0, given=False, fallback=True)
        return missing if self.down and score == 0.1 else super().answer(score)


@pytest.mark.parametrize("part", ["alone", "in a sum", "late"])
def test_a_fallback_is_not_kept(llm: FrozenLLM, part: str) -> None:
    user = Absent()
    expression: Expression = Given(user=user)
    if part == "in a sum":
        expression = 0.5 * expression + 0.5 * Given(user=Scripted())
    if part == "late":
        expression = expression | STAGES["delay"](turns=1)  # type: ignore[call-arg]
    made = make_user(expression | Cached(), llm)
    asked = [episode(0.1), episode(0.2)]
    if part == "late":
        asked = [episode(0.0, earlier=[0.1]), episode(0.0, earlier=[0.2])]
    missing, _ = made(asked, np.random.default_rng(0))
    user.down, user.asked = False, []
    there, _ = made(asked, np.random.default_rng(0))
    assert there.score == pytest.approx(0.1) != missing.score
    assert user.asked[-1] == ["0.1"]  # not 0.2, which it had answered
    user.asked.clear()
    assert made(asked, np.random.default_rng(0))[0] == there
    assert user.asked == []


def test_a_user_that_draws_cannot_be_cached(llm: FrozenLLM) -> None:
    class Moody(Scripted):
        draws = True

    for user in (Given(user=Moody()), 0.5 * Given(user=Moody()) + 0.5 * Given(user=Scripted())):
        for expression in (user | Cached(), user | Batched(size=1) | Cached()):
            with pytest.raises(UserError, match=r"cached stands behind .*Moody.*draws each answer"):
                make_user(expression, llm)
        assert make_user(user, llm).draws
    conversing = Given(user=make_conversing_user(Scripted(), llm))
    for drawing in (conversing | Cached(), "outcome | cached", "outcome(p_feedback=1) | cached"):
        with pytest.raises(UserError, match="draws each answer anew"):
            make_user(drawing, llm)
    assert not make_user(piped(Cached()), llm).draws
    assert make_user(piped(Cached(), Noise(scale=0.1)), llm).draws


def test_batched_asks_in_groups(llm: FrozenLLM) -> None:
    user = Scripted()
    asked = [episode(number / 10) for number in range(5)]
    answers = ask(Given(user=user) | Batched(size=2), llm, *asked)
    assert [answer.score for answer in answers] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [len(group) for group in user.asked] == [2, 2, 1]


def test_two_stages_do_not_draw_the_same(llm: FrozenLLM) -> None:
    one, two = (Given(user=Scripted()) | Noise(scale=0.1) for _ in range(2))
    answers = ask(0.5 * one - 0.5 * two, llm, *(episode(0.0, seed) for seed in range(50)))
    assert np.std([answer.score for answer in answers]) > 0.03
    twice = piped(Noise(scale=0.1), Noise(scale=0.1))
    once = piped(Noise(scale=0.1))
    doubled = 2 * ask(once, llm, episode(0.0))[0].score
    assert ask(twice, llm, episode(0.0))[0].score != pytest.approx(doubled)


def test_each_turn_draws_anew(llm: FrozenLLM) -> None:
    noise = piped(Noise(scale=0.1))
    first, second = ask(noise, llm, episode(0.0), episode(0.0, earlier=[0.0]))
    assert first.score != second.score


def test_silence_stays_silence(llm: FrozenLLM) -> None:
    def silent(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [Feedback.silent(says="Hm.") for _ in episodes]

    stages = [Noise(scale=1.0), Flip(p=1.0), Drift(rate=1.0, start=1.0), Clipped(low=0.5, high=1.0)]
    user: Expression = Given(user=silent)
    for stage in [*stages, Batched(size=1), STAGES["delay"](turns=1)]:  # type: ignore[call-arg]
        user = user | stage
    assert ask(user, llm, episode(0.0)) == [Feedback.silent(says="Hm.")]


every_stage = st.one_of(
    st.builds(Noise, scale=st.floats(0.0, 2.0)),
    st.builds(Sparse, p=st.floats(0.0, 1.0)),
    st.builds(Flip, p=st.floats(0.0, 1.0)),
    st.builds(STAGES["delay"], turns=st.integers(1, 3)),
    st.builds(Drift, rate=st.floats(-1.0, 1.0), start=st.floats(-1.0, 1.0)),
    st.builds(Clipped, low=st.floats(-1.0, 0.0), high=st.floats(0.0, 1.0)),
    st.builds(Batched, size=st.integers(1, 3)),
)
scores = st.floats(-1.0, 1.0)
episodes = st.builds(
    episode,
    scores,
    seed=st.integers(0, 2**31),
    earlier=st.lists(scores, max_size=4),
    last_turn=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(every_stage, max_size=4), st.lists(episodes, min_size=1, max_size=5))
def test_an_answer_does_not_depend_on_the_batch(
    llm: FrozenLLM, stages: list[Stage], asked: list[Episode]
) -> None:
    """And its components add up, whatever stages there are: `Feedback` checks it."""
    user = make_user(0.5 * piped(*stages) + 0.5 * Given(user=Scripted()), llm)
    together = user(asked, np.random.default_rng(0))
    alone = [user([one], np.random.default_rng(1))[0] for one in reversed(asked)]
    assert together == alone[::-1]
    assert all(abs(sum(each.components.values()) - each.score) < 1e-9 for each in together)


def test_a_user_in_an_expression_is_named_when_it_fails(llm: FrozenLLM) -> None:
    def broken(prompt: str, reply: str) -> float:
        return 7.0

    user = 0.5 * (Given(user=broken) | Noise(scale=0.1)) + 0.5 * Given(user=Scripted())
    with pytest.raises(UserError, match=r"^the user 'broken' failed: .*got 7.0.*prompt 'Hi'"):
        ask(user, llm, episode(0.0))
