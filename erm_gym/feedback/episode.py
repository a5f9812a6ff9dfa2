"""What a simulated user is shown, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np

from erm_gym.feedback.prompts import Prompt

COMPONENT_TOLERANCE = 1e-4
"""How far the components of a feedback may add up beside its score."""


class UserError(RuntimeError):
    """A simulated user failed or answered nonsense; the message names the user and the prompt."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One finished reply, as a user sees it."""

    prompt: Prompt
    """What was asked."""
    reply: str
    """What the language model answered."""
    tokens: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Token ids of the reply, `[T]` int64, the end of the turn included."""
    logprobs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """Log-probability of each token under the frozen LM at temperature 1, `[T]` float32, nats."""
    hidden: np.ndarray | None = None
    """Hidden states of the reply, `[T, d]` float32, one per token but for the end of the turn, if
    the environment has them."""
    llm_fingerprint: str = ""
    """Which model the hidden states are of."""
    seed: int = 0
    """Drawn for this episode alone: randomness from it does not depend on the rest of a batch."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Equal in every field, arrays by value."""
        if not isinstance(other, Episode):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            if isinstance(getattr(self, field.name), np.ndarray)
            else bool(getattr(self, field.name) == getattr(other, field.name))
            for field in fields(self)
        )


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """A user's reaction to one reply."""

    score: float
    """How content the user is, in [-1, 1]."""
    components: Mapping[str, float] = field(default_factory=dict)
    """Named parts that add up to the score; empty if the user does not itemise."""
    stance: str = ""
    """How the user read the reply, if it says: one of `erm_gym.feedback.STANCES`."""

    def __post_init__(self) -> None:
        """Checks range and sum.

        Raises:
            ValueError: If the score is not in [-1, 1] or the components do not add up to it.
        """
        if not (math.isfinite(self.score) and -1.0 <= self.score <= 1.0):
            raise ValueError(f"the score must be a number in [-1, 1], got {self.score}")
        total = sum(self.components.values())
        if self.components and not abs(total - self.score) <= COMPONENT_TOLERANCE:
            raise ValueError(f"the components add up to {total}, but the score is {self.score}")


class User(Protocol):
    """Anything that reacts to finished replies.

    Source: project design, section 6.
    """

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback for a batch of episodes.

        Args:
            episodes: The replies, at least one.
            rng: Randomness of the environment. What is drawn from it depends on the batch; use
                `Episode.seed` for draws that do not.

        Returns:
            One feedback per episode, in their order.
        """
        ...
