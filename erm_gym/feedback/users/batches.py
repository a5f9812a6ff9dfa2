"""Stages that change how a user is asked, and not what it answers: caching, and batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.stage import PipedUser, Stage


@dataclass(frozen=True)
class Cached(Stage):
    """Remembers answers, and does not ask about the same reply to the same prompt again.

    What was said before, and whether the turn is the last, count as well; `Episode.seed` does not.
    So it is for users whose answer follows from the text alone: one that draws would be held to its
    first draw. A user that says so by `draws = True` is refused, and stages that draw must stand
    behind this one. The answers asked for last are kept, in memory, but for fallbacks of users that
    did not answer; equal replies of one batch are asked about once.
    """

    name: ClassVar[str] = "cached"
    repeats: ClassVar[bool] = True

    size: int = 4096
    """Answers that are kept, >= 1."""

    def __post_init__(self) -> None:
        """Checks the range."""
        _require_count(self.name, "size", self.size)

    def over(self, user: Askable, number: int) -> Askable:
        """A user with a memory of its own.

        Raises:
            UserError: If the user draws its answers.
        """
        return CachedUser(user, self, number)

    async def answer(
        self, user: Askable, number: int, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> list[Feedback]:
        """Asks about all; the memory is in `CachedUser`."""
        return await user.answer(episodes, rng)


class CachedUser(PipedUser):
    """A user whose answers are remembered."""

    def __init__(self, user: Askable, stage: Cached, number: int) -> None:
        super().__init__(user, stage, number)
        self._size = stage.size
        self._answers: OrderedDict[Hashable, Feedback] = OrderedDict()

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks about what is not remembered."""
        keys = [_key(episode) for episode in episodes]
        new = {key: e for key, e in zip(keys, episodes, strict=True) if key not in self._answers}
        known = {key: self._answers[key] for key in keys if key in self._answers}
        if new:
            asked = await super().answer(list(new.values()), rng)
            known |= dict(zip(new, asked, strict=True))
        for key in keys:
            if not known[key].fallback:
                self._answers[key] = known[key]
                self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
        return [known[key] for key in keys]


@dataclass(frozen=True)
class Batched(Stage):
    """Asks about few replies at a time, one group after the other."""

    name: ClassVar[str] = "batched"

    size: int
    """Most replies that are asked about together, >= 1."""

    def __post_init__(self) -> None:
        """Checks the range."""
        _require_count(self.name, "size", self.size)

    async def answer(
        self, user: Askable, number: int, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> list[Feedback]:
        """Asks group by group."""
        answers: list[Feedback] = []
        for start in range(0, len(episodes), self.size):
            answers += await user.answer(episodes[start : start + self.size], rng)
        return answers


def _key(episode: Episode) -> Hashable:
    turns = tuple(
        (turn.said, turn.reply, turn.feedback.score, turn.feedback.given) for turn in episode.turns
    )
    return episode.prompt, episode.reply, turns, episode.last_turn


def _require_count(stage: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{stage}: {field} must be a whole number from 1, got {value!r}")
