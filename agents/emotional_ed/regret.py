"""Regret of the door that was not chosen, and what is learned about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Context, Situation, Transition

REMEMBERED = 5
"""Regrets that are remembered of every door."""


def gained(context: Context) -> np.ndarray:
    """How much more was obtained than foregone, `[B]`; regret where it is negative."""
    return context["obtained"] - context["foregone"]


class Regret(Emotion):
    """How much more the other door would have brought, 0 if less. There is no upper limit.

    Source: Emotional-ED, experiment 3.
    """

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """An episode begins without regret."""
        self.level[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Compares."""
        self.level[:] = np.maximum(0.0, -gained(transition.after.context))


class RememberedDoors(Emotion):
    """Regret that clings to doors: minus the mean of a door's last five gains, if negative.

    The level is that of the door that is regretted most; `shares` tells the doors apart. It is kept
    across episodes unless it is told to forget.

    Args:
        forgets: Whether an episode begins without regret.

    Source: Emotional-ED, experiment 3.
    """

    def __init__(self, *, forgets: bool = False) -> None:
        self.forgets = forgets

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.memory = self.per_row((actions, REMEMBERED))
        self.count = self.per_row((actions,))
        self.regret = self.per_row((actions,))

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets, if it does."""
        if self.forgets:
            for array in (self.level, self.memory, self.count, self.regret):
                array[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Writes the gain down in place of the oldest one of the same door."""
        door = np.arange(self.rows), transition.action
        oldest = (self.count[door] % REMEMBERED).astype(np.int64)
        self.memory[(*door, oldest)] = gained(transition.after.context)
        self.count[door] += 1.0
        known = np.minimum(np.maximum(self.count, 1.0), REMEMBERED)
        self.regret[:] = np.maximum(0.0, -self.memory.sum(axis=2) / known)
        self.level[:] = self.regret.max(axis=1)

    def shares(self, situation: Situation) -> np.ndarray:
        """Regret of each door in units of the greatest one, `[B, A]` in [0, 1]; a direction."""
        most = self.regret.max(axis=1, keepdims=True)
        return self.regret / np.where(most > 0.0, most, 1.0)


@dataclass(frozen=True)
class ForegoneLearning(Influence):
    """The other one of two doors is learned, too: `Q += rate e (foregone + future - Q)`.

    The future is taken to be the same one as that of the door that was chosen.
    """

    rate: float = 0.05
    """Learning rate of the other door at a level of 1."""

    def lesson(
        self, values: np.ndarray, error: np.ndarray, level: np.ndarray, transition: Transition
    ) -> np.ndarray:
        """Moves the value of the door that was not chosen."""
        rows, other = np.arange(len(values)), 1 - transition.action
        future = transition.value + error - transition.reward
        target = transition.after.context["foregone"] + future
        taught = values.copy()
        taught[rows, other] += self.rate * level * (target - values[rows, other])
        return taught


def heeded(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e / 2`."""
    return 1.0 + 0.5 * level


def lose_shift(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The door `[B]` that was better the last time; -1 before the first."""
    last = situation.last_action
    better = np.where(gained(situation.context) < 0.0, 1 - last, last)
    return np.where(last < 0, -1, better)
