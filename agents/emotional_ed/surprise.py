"""Surprise, of the moment and lasting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition


@dataclass
class Surprise(Emotion):
    """A lasting surprise, or the greater one of it and of what surprises now.

    What was not expected by more than .3 surprises half as much, up to 1. Each time the lasting
    surprise gains .3, up to 1; otherwise it is multiplied by .9, and by .8 where an episode begins.

    Source: Emotional-ED, experiment 19.
    """

    lasting_only: bool = False
    """Whether the level is the lasting surprise alone."""
    from_error: bool = False
    """Whether temporal-difference errors surprise. As published it is the difference between a
    reward and the expected sum of all rewards to come, which never ends to surprise."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.lasting = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Calms down."""
        self.lasting[rows] *= 0.8
        self.level[rows] = self.lasting[rows]

    def feel(self, transition: Transition) -> None:
        """Compares the reward with what was expected, if that is what surprises."""
        if not self.from_error:
            self._rise(np.abs(transition.value - transition.reward))

    def learned(self, transition: Transition, error: np.ndarray) -> None:
        """Looks at the error, if that is what surprises."""
        if self.from_error:
            self._rise(np.abs(error))

    def _rise(self, unexpected: np.ndarray) -> None:
        now = np.where(unexpected > 0.3, np.minimum(1.0, unexpected / 2.0), 0.0)
        risen = np.minimum(1.0, self.lasting + 0.3)
        self.lasting[:] = np.where(now > 0.0, risen, 0.9 * self.lasting)
        self.level[:] = self.lasting if self.lasting_only else np.maximum(self.lasting, now)


def faster(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`min(5, 1 + 2 e)`: as published; the limit is never reached up to a level of 1."""
    return np.minimum(5.0, 1.0 + 2.0 * level)
