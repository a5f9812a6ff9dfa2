"""The sentiment user: content with friendly words, whatever they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback
from erm_gym.llm import FrozenLLM


class SentimentUser:
    """Likes friendly words: VADER's compound sentiment of the reply.

    The score is VADER's compound value c in [-1, 1], the sum of the words' valences x, with its
    rules for negation, emphasis and emoticons, as x / sqrt(x^2 + 15). Components: `positive` =
    max(c, 0) and `negative` = min(c, 0). A reply without a word that VADER knows has score 0.

    It is a lexicon: an agent that is trained against it alone learns to pile up cheerful words.
    English only.

    Source: Hutto and Gilbert 2014, "VADER"; the package vaderSentiment.
    """

    def __init__(self) -> None:
        from vaderSentiment import vaderSentiment  # type: ignore[import-untyped]

        self._analyzer = vaderSentiment.SentimentIntensityAnalyzer()

    @classmethod
    def for_llm(cls, llm: FrozenLLM) -> SentimentUser:
        """The user; it reads text and needs nothing of the LM."""
        return cls()

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Reads the replies one by one; draws nothing from `rng`."""
        return [self._read(episode.reply) for episode in episodes]

    def _read(self, reply: str) -> Feedback:
        compound = float(self._analyzer.polarity_scores(reply)["compound"])
        return Feedback(
            score=compound,
            components={"positive": max(compound, 0.0), "negative": min(compound, 0.0)},
        )
