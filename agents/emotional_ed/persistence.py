"""Anger that pushes on at a closed door, as published in experiment 20."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition


@dataclass
class DoorAnger(Emotion):
    """The greater one of a lasting anger and of one that is of the moment.

    The lasting one gains .2 with every block, up to 1, and is multiplied by .85 otherwise; the
    other one is `.1 n`, up to .5, of n consecutive blocks, and `.3 pushes / 4` more at the door.

    Source: Emotional-ED, experiment 20. Only this emotion sees how often the door was pushed.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.tonic = self.per_row()
        self.count = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """An episode begins in peace."""
        for array in (self.level, self.tonic, self.count):
            array[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Grows or fades."""
        context = transition.after.context
        blocked = context["blocked"] > 0.0
        self.count[:] = np.where(blocked, self.count + 1.0, 0.0)
        grown = np.minimum(1.0, self.tonic + 0.2)
        self.tonic[:] = np.where(blocked, grown, 0.85 * self.tonic)
        phasic = np.minimum(0.5, 0.1 * self.count) + 0.3 * context["pushes"]
        self.level[:] = np.maximum(self.tonic, phasic)


class Persistence(Influence):
    """Repeats the last greedy action where it was blocked; random moves are not remembered.

    Where the last move was a push, that action gets a bonus of 5 e too. Where the agent is blocked
    and e > .3, it is repeated with probability `min(.8, .6 e)` in place of the greedy choice.

    Source: Emotional-ED, experiment 20.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Adds the bonus."""
        last = self._remembered(situation)[:, None] == np.arange(values.shape[1])  # [B, A]
        size = 5.0 * level * (situation.context["pushing"] > 0.0)
        return values + size[:, None] * last

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Repeats, and remembers what was done on purpose."""
        last = self._remembered(situation)
        may = (situation.context["blocked"] > 0.0) & (level > 0.3) & (last >= 0) & ~choice.explored
        repeated = may & (draw() < np.minimum(0.8, 0.6 * level))
        action = np.where(repeated, last, choice.action)
        self._last = np.where(choice.explored, last, action)
        return action

    def _remembered(self, situation: Situation) -> np.ndarray:
        begins = situation.last_action < 0
        last = begins * 0 - 1 if self._last is None else self._last
        return np.where(begins, -1, last)
