"""Anger at what is in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Context, Situation, Transition

Growth = Callable[[np.ndarray, Context], np.ndarray]
"""What one more block adds `[B]`, from the number of consecutive ones `[B]` and the context."""


def repeated(situation: Situation) -> np.ndarray:
    """1 for what was done last, of a grid's four actions `[B, 4]`; 0 where an episode begins."""
    return (situation.last_action[:, None] == np.arange(4)).astype(float)


def repeated_if_blocked(situation: Situation) -> np.ndarray:
    """1 for the action that was blocked, `[B, 4]`."""
    return repeated(situation) * situation.context["blocked"][:, None]


@dataclass
class Anger(Emotion):
    """Grows by what `growth` says when blocked, up to 1; fades otherwise.

    Source: Emotional-ED, experiments 1, 2, 7 and 15, which differ in the numbers.
    """

    growth: Growth
    """What a block adds."""
    fading: float = 1.0
    """Factor of a step that is not blocked."""
    relief: float = 0.0
    """What such a step takes away."""
    counted: str = "blocked"
    """What in the context is counted; every block makes angry, though."""
    forgets: bool = False
    """Whether an episode begins in peace."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.count = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets, if it does."""
        if self.forgets:
            self.level[rows] = self.count[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Grows or fades."""
        context = transition.after.context
        self.count[:] = np.where(context[self.counted] > 0.0, self.count + 1.0, 0.0)
        grown = np.minimum(1.0, self.level + self.growth(self.count, context))
        faded = np.maximum(0.0, self.level * self.fading - self.relief)
        self.level[:] = np.where(context["blocked"] > 0.0, grown, faded)
