"""What a simulated user is shown, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Protocol

import numpy as np

from erm_gym.feedback.prompts import Prompt

COMPONENT_TOLERANCE = 1e-4
"""How far the components of a feedback may add up beside its score."""


class UserError(RuntimeError):
    """A simulated user failed or answered nonsense; the message names the user and the prompt."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """A user's reaction to one reply."""

    score: float
    """How content the user is, in [-1, 1]."""
    components: Mapping[str, float] = field(default_factory=dict)
    """Named parts that add up to the score; empty if the user does not itemise."""
    stance: str = ""
    """How the user read the reply, if it says: one of `erm_gym.feedback.STANCES`."""
    says: str = ""
    """What the user answers in words; empty if it says nothing."""
    leaves: bool = False
    """Whether the user ends the conversation with this."""
    verdict: float | None = None
    """How content the user is with the whole conversation, in [-1, 1]; given when it ends."""
    given: bool = True
    """False: the user says nothing of this reply; score must be 0 and components empty."""
    fallback: bool = field(default=False, compare=False)
    """Whether this, or a part of it, stands for an answer that did not come: it is not to be kept,
    as the same question may get an answer next time."""

    def __post_init__(self) -> None:
        """Checks range and sum.

        Raises:
            ValueError: If the score or the verdict is not in [-1, 1], the components do not add up
                to the score, or there are any where no feedback is given.
        """
        if not isinstance(self.score, Real):
            raise ValueError(f"the score must be a number in [-1, 1], got {self.score!r}")
        if not (math.isfinite(self.score) and -1.0 <= self.score <= 1.0):
            raise ValueError(f"the score must be a number in [-1, 1], got {self.score}")
        if self.verdict is not None and not -1.0 <= self.verdict <= 1.0:
            raise ValueError(f"the verdict must be a number in [-1, 1], got {self.verdict}")
        total = sum(self.components.values())
        if self.components and not abs(total - self.score) <= COMPONENT_TOLERANCE:
            raise ValueError(f"the components add up to {total}, but the score is {self.score}")
        if not self.given and (self.score != 0.0 or self.components):
            raise ValueError(
                f"a feedback that is not given has score 0 and no components, got {self.score} and "
                f"{dict(self.components)}; use Feedback.silent()"
            )

    @classmethod
    def silent(cls, *, says: str = "", leaves: bool = False) -> Feedback:
        """No feedback on this reply.

        Args:
            says: What the user says nevertheless.
            leaves: Whether it ends the conversation.
        """
        return cls(score=0.0, says=says, leaves=leaves, given=False)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a conversation: the user speaks, the assistant replies, the user reacts."""

    said: str
    """What the user said."""
    reply: str
    """What the assistant answered."""
    feedback: Feedback
    """How the user reacted to it; `feedback.says` opens the next turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One finished reply, as a user sees it; in a conversation, with what came before it."""

    prompt: Prompt
    """What was asked; in a conversation the opening request, in every turn."""
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
    """Drawn for this episode alone, and once for all turns of a conversation: randomness from it
    does not depend on the rest of a batch."""
    turns: tuple[Turn, ...] = ()
    """Earlier turns of this conversation, oldest first; empty if this is the first reply."""
    last_turn: bool = True
    """Whether the conversation ends after this reply, whatever the user makes of it."""

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Checks that the conversation was still going.

        Raises:
            ValueError: If the user left in an earlier turn.
        """
        for number, turn in enumerate(self.turns, 1):
            if turn.feedback.leaves:
                raise ValueError(
                    f"the user left in turn {number}, so there is no turn {len(self.turns) + 1}; "
                    "begin a new conversation"
                )

    @property
    def said(self) -> str:
        """What the user said right before this reply."""
        return self.turns[-1].feedback.says if self.turns else self.prompt.text

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
