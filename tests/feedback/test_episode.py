"""Feedback is a number in [-1, 1] whose components add up to it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt


@pytest.mark.parametrize("score", [-1.0, -0.3, 0.0, 1.0])
def test_a_score_in_range_is_accepted(score: float) -> None:
    feedback = Feedback(score=score)
    assert (feedback.score, feedback.components, feedback.stance) == (score, {}, "")


@pytest.mark.parametrize("score", [1.0001, -1.5, math.nan, math.inf, -math.inf])
def test_a_score_out_of_range_is_named(score: float) -> None:
    with pytest.raises(ValueError, match=rf"must be a number in \[-1, 1\], got {score}"):
        Feedback(score=score)


def test_components_add_up() -> None:
    Feedback(score=0.25, components={"tone": 0.75, "length": -0.5})
    Feedback(score=0.25, components={"tone": 0.25005})  # rounding is forgiven
    with pytest.raises(ValueError, match=r"add up to 0.3, but the score is 0.25"):
        Feedback(score=0.25, components={"tone": 0.3})
    with pytest.raises(ValueError, match="add up to nan"):
        Feedback(score=0.25, components={"tone": math.nan})


def test_both_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Feedback(score=0.0).score = 1.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Episode(prompt=Prompt(text="Hi"), reply="").reply = "x"  # type: ignore[misc]


def test_an_episode_has_empty_defaults_of_its_own() -> None:
    one, other = (Episode(prompt=Prompt(text="Hi"), reply="Hello") for _ in range(2))
    assert one.tokens.dtype == np.int64 and one.logprobs.dtype == np.float32
    assert one.tokens.shape == one.logprobs.shape == (0,)
    assert one.tokens is not other.tokens and one.hidden is None


def test_episodes_can_be_compared() -> None:
    def episode(token: int) -> Episode:
        hidden = np.full((2, 3), token, np.float32)
        return Episode(
            prompt=Prompt(text="Hi"), reply="", tokens=np.array([token, 1]), hidden=hidden
        )

    assert (episode(1) == episode(1)) is True
    assert (episode(1) == episode(2)) is False
