"""Emotions in excess, as published in experiment 15: each makes its agent fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Situation, Transition


@dataclass
class Conflict(Emotion):
    """The lesser one of a fear and of a desire that rise near what is feared and wanted.

    Each gains .2 with a step that ends within its reach, up to 1; others multiply it by .9.

    Source: Emotional-ED, experiment 15.
    """

    fear_reach: float = 2.0
    """Distance of the threat below which fear rises."""
    desire_reach: float = 3.0
    """Distance of the goal below which desire rises."""
    forgets: bool = False
    """Whether an episode begins without either."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.fear = self.per_row()
        self.desire = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets, if it does."""
        if self.forgets:
            for array in (self.level, self.fear, self.desire):
                array[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Rises or falls."""
        context = transition.after.context
        for felt, distance, reach in (
            (self.fear, "threat_distance", self.fear_reach),
            (self.desire, "goal_distance", self.desire_reach),
        ):
            risen = np.minimum(1.0, felt + 0.2)
            felt[:] = np.where(context[distance] < reach, risen, 0.9 * felt)
        self.level[:] = np.minimum(self.fear, self.desire)


class SignFlip(Influence):
    """`Q *= 1 - 2 e` where e > .2: above a level of .5 the worst action becomes the best one.

    Source: Emotional-ED, experiment 15.
    """

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Scales all values."""
        return values * np.where(level > 0.2, 1.0 - 2.0 * level, 1.0)[:, None]


class BlockedBoost(Influence):
    """`Q[last blocked action] *= 1 + 2 e` where e > .3, which repels where values are negative.

    Source: Emotional-ED, experiment 15.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Scales the value of what was blocked last, in whatever state that was."""
        last = np.full(len(values), -1) if self._last is None else self._last
        blocked = (situation.context["blocked"] > 0.0) & (situation.last_action >= 0)
        self._last = np.where(blocked, situation.last_action, last)
        factor = 1.0 + 2.0 * np.where(level > 0.3, level, 0.0)  # [B]
        meant = self._last[:, None] == np.arange(values.shape[1])  # [B, A]
        return np.where(meant, values * factor[:, None], values)
