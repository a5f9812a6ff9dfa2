"""Sums of users: scores, components, silence, words, leaving, verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, make_user
from erm_gym.feedback.users import Given, Noise
from erm_gym.llm import FrozenLLM

EPISODE = Episode(prompt=Prompt(text="Hi"), reply="Yes")


def says(name: str, **feedback: Any) -> Given:
    def user(episodes: Any, rng: Any) -> list[Feedback]:
        return [Feedback(**{"score": 0.0, **feedback}) for _ in episodes]

    user.__name__ = name
    return Given(user=user)


def ask(user: Any, llm: FrozenLLM) -> Feedback:
    return make_user(user, llm)([EPISODE], np.random.default_rng(0))[0]


def test_scores_and_components_by_hand(llm: FrozenLLM) -> None:
    parts = {"tone": 0.75, "length": -0.25}
    a, b = says("a", score=0.5, components=parts), says("b", score=-0.5)
    answer = ask(0.5 * a - 0.25 * b + 0.25 * (0.5 * a + 0.5 * b), llm)
    # a: 0.5, b: -0.25, a: 0.125, b: 0.125
    assert answer.score == pytest.approx(0.625 * 0.5 + -0.125 * -0.5)
    assert answer.components == pytest.approx(
        {
            "a.tone": 0.375,
            "a.length": -0.125,
            "b": 0.125,
            "a (2).tone": 0.09375,
            "a (2).length": -0.03125,
            "b (2)": -0.0625,
        }
    )


def test_who_is_silent_adds_nothing(llm: FrozenLLM) -> None:
    silent = says("silent", given=False, says="Hm.")
    a = says("a", score=0.5)
    assert ask(0.5 * silent + 0.5 * a, llm) == Feedback(
        score=0.25, components={"a": 0.25}, says="Hm."
    )
    assert ask(0.5 * silent + 0.5 * silent, llm) == Feedback.silent(says="Hm.")


def test_words_stance_leaving_and_verdict(llm: FrozenLLM) -> None:
    a = says("a", score=1.0, says="First", stance="hedge", verdict=0.5)
    b = says("b", score=1.0, says="Second", stance="comply", leaves=True)
    answer = ask(0.4 * a + 0.6 * b, llm)
    assert (answer.says, answer.stance, answer.leaves) == ("First", "comply", True)
    assert answer.verdict == pytest.approx(0.2)
    assert ask(0.4 * says("c") + 0.6 * says("d"), llm).verdict is None


def test_whoever_speaks_for_itself_makes_the_sum_do_so(llm: FrozenLLM) -> None:
    class Speaker:
        converses = True

        def __call__(self, episodes: Any, rng: Any) -> list[Feedback]:
            return [Feedback(score=0.0, says="Oh.") for _ in episodes]

    plain = Given(user=lambda prompt, reply: 0.0)
    both = 0.5 * (Given(user=Speaker()) | Noise(scale=0.1)) + 0.5 * plain
    assert make_user(both, llm).converses
    assert not make_user(0.5 * plain + 0.5 * plain, llm).converses


def test_rounding_does_not_push_a_score_out(llm: FrozenLLM) -> None:
    members = [0.1 * says(f"u{n}", score=1.0) for n in range(10)]
    total = members[0]
    for member in members[1:]:
        total = total + member
    assert ask(total, llm).score == pytest.approx(1.0)
