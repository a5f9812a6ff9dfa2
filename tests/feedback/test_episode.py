"""Feedback is a number in [-1, 1] whose components add up to it; turns make a conversation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, Turn


@pytest.mark.parametrize("score", [-1.0, -0.3, 0.0, 1.0])
def test_a_score_in_range_is_accepted(score: float) -> None:
    feedback = Feedback(score=score)
    assert (feedback.score, feedback.components, feedback.stance) == (score, {}, "")
    assert (feedback.says, feedback.leaves, feedback.verdict) == ("", False, None)


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


@pytest.mark.parametrize("verdict", [1.0001, -1.5, math.nan, math.inf])
def test_a_verdict_out_of_range_is_named(verdict: float) -> None:
    assert Feedback(score=0.0, verdict=-1.0).verdict == -1.0
    with pytest.raises(ValueError, match=rf"verdict must be a number in \[-1, 1\], got {verdict}"):
        Feedback(score=0.0, verdict=verdict)


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


# -- conversations ---------------------------------------------------------------------------------

HI = Prompt(text="Hi")


def turn(said: str, says: str, leaves: bool = False) -> Turn:
    return Turn(said=said, reply="Yes", feedback=Feedback(score=0.0, says=says, leaves=leaves))


def test_a_single_reply_is_the_first_and_the_last() -> None:
    episode = Episode(prompt=HI, reply="Hello")
    assert (episode.turns, episode.last_turn, episode.said) == ((), True, "Hi")


def test_what_the_user_said_last() -> None:
    turns = (turn("Hi", "And now?"), turn("And now?", "What else?"))
    assert Episode(prompt=HI, reply="", turns=turns[:1]).said == "And now?"
    assert Episode(prompt=HI, reply="", turns=turns).said == "What else?"
    assert Episode(prompt=HI, reply="", turns=(turn("Hi", ""),)).said == ""


def test_episodes_with_other_turns_differ() -> None:
    one, same, other = (
        Episode(prompt=HI, reply="", turns=(turn("Hi", says),)) for says in ("Go", "Go", "Stop")
    )
    assert (one == same) is True and (one == other) is False
    assert (one == Episode(prompt=HI, reply="", turns=one.turns, last_turn=False)) is False


def test_nobody_replies_to_a_user_who_has_left() -> None:
    turns = (turn("Hi", "Well."), turn("Well.", "Bye.", leaves=True))
    with pytest.raises(ValueError, match=r"left in turn 2, so there is no turn 3; begin a new"):
        Episode(prompt=HI, reply="", turns=turns)


def test_silence_has_no_score() -> None:
    silent = Feedback.silent(says="Hm.", leaves=True)
    assert (silent.score, silent.given, silent.says, silent.leaves) == (0.0, False, "Hm.", True)
    assert Feedback(score=0.0).given
    for wrong in ({"score": 0.5}, {"score": 0.0, "components": {"a": 0.0}}):
        with pytest.raises(ValueError, match="not given has score 0 and no components"):
            Feedback(given=False, **wrong)


@pytest.mark.parametrize("score", ["good", None, [0.5]])
def test_a_score_is_a_number(score: object) -> None:
    with pytest.raises(ValueError, match="the score must be a number"):
        Feedback(score=score)  # type: ignore[arg-type]
