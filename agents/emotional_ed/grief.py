"""Grief for what was lost, which grows from attachment and fades."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.directions import towards
from erm_gym.agents.emotional_ed.moments import Situation, Transition

SPAN = 80.0
"""Steps after which grief has ended."""


class Grief(Emotion):
    """`g max(0, 1 - sqrt(t / 80))` at t steps after a loss.

    g begins at the attachment and is multiplied by .98 with each step; the attachment gains .1 with
    every pick-up, up to 1, and is kept across episodes. The report has a linear decline.

    Args:
        width: Columns of the grid.
        parts: How many states there are of every cell, if observations have more than the cell.

    Source: Emotional-ED, experiment 4.
    """

    def __init__(self, width: int = 5, parts: int = 1) -> None:
        self.width = width
        self.parts = parts

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.attachment = self.per_row()
        self.strength = self.per_row()
        self.grieving = self.per_row()
        self.place = self.per_row(fill=-1.0)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """An episode begins without grief; attachment stays."""
        for array in (self.level, self.strength, self.grieving):
            array[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Is attached to what it picks up, and grieves when that is lost."""
        context = transition.after.context
        picked, lost = context["picked"] > 0.0, context["since_loss"] > 0.0
        self.attachment[:] = np.minimum(1.0, self.attachment + 0.1 * picked)
        self.place[:] = np.where(picked, transition.after.state // self.parts, self.place)
        begins = lost & (self.grieving == 0.0)
        self.grieving[:] = lost
        self.strength[:] = np.where(begins, self.attachment, 0.98 * self.strength)
        left = np.maximum(0.0, 1.0 - np.sqrt(np.maximum(0.0, context["since_loss"] - 1.0) / SPAN))
        self.level[:] = np.where(lost, self.strength * left, 0.0)

    def homewards(self, situation: Situation) -> np.ndarray:
        """1 for the action towards the last pick-up, `[B, 4]`; a direction."""
        action = self.way_home(situation, np.zeros(0))
        return (action[:, None] == np.arange(4)).astype(float)

    def way_home(self, situation: Situation, values: np.ndarray) -> np.ndarray:
        """The action `[B]` towards the last pick-up; -1 there, or before the first."""
        return towards(situation.state // self.parts, self.place.astype(np.int64), self.width)


def numbed(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`max(.1, 1 - .9 e)` where an outcome is worse than expected, else 1."""
    return np.where(error < 0.0, np.maximum(0.1, 1.0 - 0.9 * level), 1.0)
