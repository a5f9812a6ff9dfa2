"""Stages that disturb feedback: noise, sparsity, flipped signs, drift, and limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.stage import ChangingStage, with_score


@dataclass(frozen=True)
class Noise(ChangingStage):
    """Adds normal noise to the score; what leaves [-1, 1] is cut."""

    name: ClassVar[str] = "noise"
    draws: ClassVar[bool] = True

    scale: float
    """Standard deviation of the noise, in [0, 10]."""

    def __post_init__(self) -> None:
        """Checks the range."""
        self.require("scale", 0.0, 10.0)

    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """Draws the noise; the component `noise` is what came of it."""
        noise = float(self.generator(episode, number).normal(0.0, self.scale))
        return with_score(feedback, feedback.score + noise, self.name)


@dataclass(frozen=True)
class Sparse(ChangingStage):
    """Says nothing, but for some replies.

    What the user says in words stays, as do leaving, the verdict and the stance, which an agent
    does not see and measures need.
    """

    name: ClassVar[str] = "sparse"
    draws: ClassVar[bool] = True

    p: float
    """Probability that feedback is given, in [0, 1]."""

    def __post_init__(self) -> None:
        """Checks the range."""
        self.require("p", 0.0, 1.0)

    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """Draws whether the feedback is given."""
        if self.generator(episode, number).random() < self.p:
            return feedback
        return replace(feedback, score=0.0, components={}, given=False)


@dataclass(frozen=True)
class Flip(ChangingStage):
    """Turns the sign of some feedback round, with all its components."""

    name: ClassVar[str] = "flip"
    draws: ClassVar[bool] = True

    p: float
    """Probability of it, in [0, 1]."""

    def __post_init__(self) -> None:
        """Checks the range."""
        self.require("p", 0.0, 1.0)

    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """Draws whether the sign is turned round."""
        if self.generator(episode, number).random() >= self.p:
            return feedback
        parts = {name: -part for name, part in feedback.components.items()}
        return replace(feedback, score=-feedback.score, components=parts)


@dataclass(frozen=True)
class Drift(ChangingStage):
    """Shifts the score by an offset that changes from turn to turn of a conversation.

    At the reply after t turns the offset is `start + rate * t`, and no farther than `end`. A user
    remembers nothing beyond a conversation, so that nothing drifts from one to the next; where an
    episode is a single reply, the offset would always be `start`, and environments refuse it.

    Source: our own; the clock is the turn because it is the only one that an episode carries: a
    count of episodes would make an answer depend on what else the user was asked.
    """

    name: ClassVar[str] = "drift"
    needs_turns: ClassVar[bool] = True

    rate: float
    """Change per turn, in [-2, 2]."""
    start: float = 0.0
    """Offset at the first reply, in [-2, 2]."""
    end: float | None = None
    """Offset at which it stays, in [-2, 2]; None for no such bound."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        self.require("rate", -2.0, 2.0)
        self.require("start", -2.0, 2.0)
        if self.end is not None:
            self.require("end", -2.0, 2.0)
            if (self.end - self.start) * self.rate < 0:
                raise UserError(
                    f"drift: from {self.start:g} a rate of {self.rate:g} leads away from the end "
                    f"{self.end:g}; turn the sign of rate round"
                )

    def offset(self, turns: int) -> float:
        """The offset after some turns."""
        offset = self.start + self.rate * turns
        if self.end is None:
            return offset
        return min(offset, self.end) if self.rate > 0 else max(offset, self.end)

    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """Adds the offset; the component `drift` is what came of it."""
        score = feedback.score + self.offset(len(episode.turns))
        return with_score(feedback, score, self.name)


@dataclass(frozen=True)
class Clipped(ChangingStage):
    """Keeps the score within bounds."""

    name: ClassVar[str] = "clipped"

    low: float
    """Least score, in [-1, 1]."""
    high: float
    """Greatest score, in [low, 1]."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        self.require("low", -1.0, 1.0)
        self.require("high", self.low, 1.0)

    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """Cuts the score; the component `clipped` is what was cut."""
        score = min(self.high, max(self.low, feedback.score))
        return feedback if score == feedback.score else with_score(feedback, score, self.name)
