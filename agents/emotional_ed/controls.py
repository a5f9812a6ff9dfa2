"""Signals that carry no emotion: a constant, and what was felt at another time in another row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition

HISTORY = 512
"""Steps that a placebo remembers of the other row."""


class Constant(Emotion):
    """Feels the same everywhere.

    Args:
        value: The level, a number or `[B]`.
    """

    def __init__(self, value: float | np.ndarray = 1.0) -> None:
        self.value = value

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Sets the level once for all."""
        super().allocate(rows, states, actions)
        self.level[:] = self.value


class Levelled(Emotion):
    """Feels the same everywhere in place of another emotion, which goes on to remember.

    Args:
        emotion: What is replaced; influences may look at what it remembers.
        value: The level, a number or `[B]`.
    """

    def __init__(self, emotion: Emotion, value: float | np.ndarray) -> None:
        self.emotion = emotion
        self.value = value

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays of both."""
        super().allocate(rows, states, actions)
        self.emotion.allocate(rows, states, actions)
        self.level[:] = self.value

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Tells the emotion."""
        self.emotion.begin(rows, situation)

    def feel(self, transition: Transition) -> None:
        """Tells the emotion."""
        self.emotion.feel(transition)

    def learned(self, transition: Transition, error: np.ndarray) -> None:
        """Tells the emotion."""
        self.emotion.learned(transition, error)

    def kept(self, resting: np.ndarray) -> list[np.ndarray]:
        """What the emotion holds."""
        return self.emotion.kept(resting)

    def put_back(self, resting: np.ndarray, kept: Sequence[np.ndarray]) -> None:
        """Puts it back."""
        self.emotion.put_back(resting, kept)


class Placebo(Emotion):
    """What another emotion felt in another row at another time, in the order it was felt there.

    Row i replays what was felt in row i + 1 (the last row: in row 0), from a place that changes
    with every episode. So it has the size, the spread and the rhythm of the true signal, and says
    nothing about where row i is. Until the other row felt something it feels nothing. What the
    emotion remembers beside its level, a place say, stays row i's own.

    Args:
        emotion: What is felt in truth. Its own level is never shown to the row that feels it.
    """

    def __init__(self, emotion: Emotion) -> None:
        self.emotion = emotion

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays of both emotions.

        Raises:
            ValueError: If there is one row only, which has no other to feel with.
        """
        if rows < 2:
            raise ValueError(f"a placebo needs at least 2 rows, got {rows}")
        super().allocate(rows, states, actions)
        self.emotion.allocate(rows, states, actions)
        self._felt = np.zeros((rows, HISTORY))
        self._steps = np.zeros(rows, int)
        self._place = np.zeros(rows, int)
        self._episode = np.zeros(rows, int)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Goes to another place of what was felt, one that follows from the episode's number."""
        self.emotion.begin(rows, situation)
        self._episode[rows] += 1
        place = self._episode * 7919 + np.arange(len(rows)) * 104_729
        self._place[rows] = (place % np.maximum(self._known(), 1))[rows]
        self._replay(rows)

    def feel(self, transition: Transition) -> None:
        """Writes down what is felt, and goes on with what was felt elsewhere."""
        active = transition.active
        kept = self.emotion.kept(~active)
        self.emotion.feel(transition)
        self.emotion.put_back(~active, kept)
        self._write(active)
        self._place[active] += 1
        self._replay(active)

    def learned(self, transition: Transition, error: np.ndarray) -> None:
        """Lets the true emotion take in the errors."""
        kept = self.emotion.kept(~transition.active)
        self.emotion.learned(transition, error)
        self.emotion.put_back(~transition.active, kept)

    def _write(self, rows: np.ndarray) -> None:
        chosen = np.flatnonzero(rows)
        self._felt[chosen, self._steps[chosen] % HISTORY] = self.emotion.level[chosen]
        self._steps[chosen] += 1

    def _replay(self, rows: np.ndarray) -> None:
        known = self._known()
        self._place[rows] = np.where(self._place < known, self._place, 0)[rows]
        other = np.roll(np.arange(len(rows)), -1)
        self.level[rows] = np.where(known > 0, self._felt[other, self._place], 0.0)[rows]

    def _known(self) -> np.ndarray:
        """Steps `[B]` that are remembered of the other row."""
        return np.minimum(np.roll(self._steps, -1), HISTORY)
