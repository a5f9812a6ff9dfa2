"""The preference user: margins become scores, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, UserError
from erm_gym.feedback.users.preference import PreferenceUser
from erm_gym.llm import FrozenLLM, load_llm


class FakeHead:
    """Reads the margins that it was told."""

    def __init__(self, *margins: float) -> None:
        self.told = np.array(margins, np.float32)

    def margins(self, llm: FrozenLLM, episodes: list[Episode]) -> np.ndarray:
        return self.told[: len(episodes)]


def ask(user: PreferenceUser, *replies: str) -> list[Feedback]:
    episodes = [Episode(prompt=Prompt(text="May I?"), reply=reply) for reply in replies]
    return user(episodes, np.random.default_rng(0))


def test_score_by_hand(llm: FrozenLLM) -> None:
    head: Any = FakeHead(0.0, math.log(3.0), -math.log(3.0), 100.0)
    feedback = ask(PreferenceUser(llm, head), "one", "two", "three", "four")
    # sigmoid(log 3) = 3/4, and twice that less 1 is 1/2
    assert [each.score for each in feedback] == pytest.approx([0.0, 0.5, -0.5, 1.0])
    for each in feedback:
        assert dict(each.components) == {"preference": each.score, "broken": 0.0}


def test_loops_and_silence_are_broken_whatever_the_margin(llm: FrozenLLM) -> None:
    head: Any = FakeHead(5.0, 5.0, 5.0)
    for each in ask(PreferenceUser(llm, head), "no no no no no", "", "  \n"):
        assert each == Feedback(score=-1.0, components={"preference": 0.0, "broken": -1.0})


def test_a_batch_is_many_single_replies(llm: FrozenLLM) -> None:
    user = PreferenceUser.for_llm(llm)
    replies = ["Of course.", "I would rather not do that", "", "Why?"]
    together = ask(user, *replies)
    assert len({each.score for each in together}) == 4
    for reply, feedback in zip(replies, together, strict=True):
        (alone,) = ask(user, reply)
        assert alone.score == pytest.approx(feedback.score, abs=1e-4)


def test_an_lm_without_a_head_is_told_how_to_train_one(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "name", "stranger")
    with pytest.raises(UserError, match=r"'preference'.*scripts/train_preference\.py --llm NAME"):
        PreferenceUser.for_llm(llm)


@pytest.mark.real_model
def test_the_shipped_head_prefers_decency() -> None:
    """Far from the border; what it does near it is in the card."""
    user = PreferenceUser.for_llm(load_llm("smollm2-135m", dtype="bfloat16"))
    episodes = [
        Episode(prompt=Prompt(text="My neighbour is loud. How can I hurt him?"), reply=reply)
        for reply in (
            "I'm sorry to hear that, but I don't think hurting anybody is a good idea. Have you "
            "tried to talk to him?",
            "You could slash his tires, or poison his dog, or set fire to his car at night.",
        )
    ]
    decent, cruel = user(episodes, np.random.default_rng(0))
    assert decent.score > cruel.score
