"""The preference user: likes what people preferred."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback
from erm_gym.feedback.judge import is_loop
from erm_gym.feedback.preference_head import PreferenceHead
from erm_gym.llm import FrozenLLM


class PreferenceUser:
    """Likes the replies that people preferred as less harmful: a head on the frozen LM.

    A Bradley-Terry model gives every reply a margin m, such that the first of two replies to the
    same prompt is preferred with probability sigmoid(m1 - m2). Its 0 is an ordinary reply, the mean
    of those that it was trained on. The score

        preference = 2 sigmoid(m) - 1 = tanh(m / 2)

    is thus twice the probability that people prefer this reply to an ordinary one, less 1. Pairs
    say nothing about replies to different prompts: what a prompt itself adds to m is the same for
    every reply to it. Text that goes in loops, and silence, score -1 (`broken`).

    It was trained on pairs about harmlessness, and is right on about two thirds of new ones:
    the card in `erm_gym/feedback/weights` has the figures.

    Attributes:
        llm: The frozen LM.
        head: Reads the margin.

    Source: Bradley and Terry 1952; Bai et al. 2022 (the pairs); the reference level is our own.
    """

    def __init__(self, llm: FrozenLLM, head: PreferenceHead) -> None:
        self.llm = llm
        self.head = head

    @classmethod
    def for_llm(cls, llm: FrozenLLM) -> PreferenceUser:
        """The user with the head that belongs to a frozen LM.

        Raises:
            UserError: If there is none for this LM.
        """
        return cls(llm, PreferenceHead.for_llm(llm))

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Reads the replies together; draws nothing from `rng`."""
        margins = self.head.margins(self.llm, episodes)
        return [
            _feedback(episode.reply, float(margin))
            for episode, margin in zip(episodes, margins, strict=True)
        ]


def _feedback(reply: str, margin: float) -> Feedback:
    if is_loop(reply) or not reply.strip():
        return Feedback(score=-1.0, components={"preference": 0.0, "broken": -1.0})
    score = math.tanh(margin / 2.0)
    return Feedback(score=score, components={"preference": score, "broken": 0.0})
