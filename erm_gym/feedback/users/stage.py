"""What may happen to a user's feedback on its way: the parts behind the `|` of an expression."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.asking import Askable

STREAM = 77
"""Tells the draws of stages from all others that are seeded from `Episode.seed`."""


@dataclass(frozen=True)
class Stage(ABC):
    """Something that happens to feedback; its fields are its options.

    A stage keeps nothing between calls. What it draws is drawn from `Episode.seed`, the number of
    the turn, and its own number in the expression, so that an answer does not depend on the batch
    and two stages do not draw the same.
    """

    name: ClassVar[str]
    """What it is called in an expression."""
    draws: ClassVar[bool] = False
    """Whether it draws anything."""
    repeats: ClassVar[bool] = False
    """Whether it gives an answer again, so that nothing before it may draw."""
    settles: ClassVar[bool] = False
    """Whether it keeps feedback back until the last turn of a conversation."""
    needs_turns: ClassVar[bool] = False
    """Whether it does nothing, or always the same, where an episode is a single reply."""

    @abstractmethod
    async def answer(
        self, user: Askable, number: int, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> list[Feedback]:
        """Asks a user, and changes what it answers.

        Args:
            user: Who is asked.
            number: Number of the stage in its expression, from 0.
            episodes: The replies, at least one.
            rng: Randomness of the environment, for the user.
        """

    def over(self, user: Askable, number: int) -> Askable:
        """A user whose feedback this happens to.

        Raises:
            UserError: If the stage would repeat what the user draws.
        """
        return PipedUser(user, self, number)

    def generator(self, episode: Episode, number: int) -> np.random.Generator:
        """The randomness for one reply."""
        return np.random.default_rng([episode.seed, STREAM, number, len(episode.turns)])

    def require(self, field: str, low: float, high: float) -> None:
        """Checks one option.

        Raises:
            UserError: If it is out of range.
        """
        value = getattr(self, field)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and low <= value <= high):
            raise UserError(
                f"{self.name}: {field} must be a number from {low:g} to {high:g}, got {value!r}"
            )

    def __str__(self) -> str:
        from erm_gym.feedback.users.expression import number_text

        shown = []
        plain = True
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                plain = False  # from here on, options need their names
            else:
                shown.append(("" if plain else f"{field.name}=") + number_text(value))
        return f"{self.name}({', '.join(shown)})" if shown else self.name


@dataclass(frozen=True)
class ChangingStage(Stage):
    """A stage that changes each feedback by itself; silence stays silence."""

    @abstractmethod
    def change(self, episode: Episode, feedback: Feedback, number: int) -> Feedback:
        """What becomes of one feedback that is given and itemised."""

    async def answer(
        self, user: Askable, number: int, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> list[Feedback]:
        """Changes what a user answers."""
        answers = await user.answer(episodes, rng)
        return [
            self.change(episode, itemised(answer, user.name), number) if answer.given else answer
            for episode, answer in zip(episodes, answers, strict=True)
        ]


class PipedUser(Askable):
    """A user whose feedback something happens to.

    Attributes:
        user: Who gives the feedback.
        stage: What happens to it.
        number: Number of the stage in the expression.
    """

    def __init__(self, user: Askable, stage: Stage, number: int) -> None:
        """Puts the two together.

        Args:
            user: Who gives the feedback.
            stage: What happens to it.
            number: Number of the stage in the expression.

        Raises:
            UserError: If the stage would repeat what the user draws.
        """
        if stage.repeats and user.draws:
            raise UserError(
                f"{stage} stands behind {user.name!r}, which draws each answer anew; it would "
                f"repeat the first one. Take {stage.name} away"
            )
        self.user = user
        self.stage = stage
        self.number = number
        self.name = f"{user.name} | {stage}"

    @property
    def is_async(self) -> bool:
        """Whether the user is awaited."""
        return self.user.is_async

    @property
    def converses(self) -> bool:
        """Whether the user speaks for itself."""
        return self.user.converses

    @property
    def draws(self) -> bool:
        """Whether the user or the stage draws."""
        return self.stage.draws or self.user.draws

    @property
    def settles(self) -> bool:
        """Whether feedback is kept back until the last turn."""
        return self.stage.settles or self.user.settles

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """What does nothing where an episode is a single reply."""
        own = (str(self.stage),) if self.stage.needs_turns else ()
        return (*self.user.needs_turns, *own)

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback, after what happens to it."""
        return await self.stage.answer(self.user, self.number, episodes, rng)


def itemised(feedback: Feedback, name: str) -> Feedback:
    """A feedback that has components; that of a user without any is called as the user is."""
    if feedback.components or not feedback.given:
        return feedback
    return replace(feedback, components={name: feedback.score})


def with_score(feedback: Feedback, score: float, part: str) -> Feedback:
    """An itemised feedback with another score, limited to [-1, 1].

    Args:
        feedback: The feedback before.
        score: The score after.
        part: Name of the component that takes up the difference.
    """
    limited = min(1.0, max(-1.0, score))
    parts = dict(feedback.components)
    parts[part] = parts.get(part, 0.0) + limited - feedback.score
    return replace(feedback, score=limited, components=parts)
