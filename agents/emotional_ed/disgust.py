"""Disgust at what contaminates, and the memory of where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.directions import OPPOSITE, towards
from erm_gym.agents.emotional_ed.fear import proximity
from erm_gym.agents.emotional_ed.moments import Situation, Transition

Remembers = Literal["passed", "first contact"]


@dataclass
class Disgust(Emotion):
    """`max(0, 1 - d / 3)` of the nearest contaminated cell; at least .8 in a remembered state.

    It is at least .5 while the agent is contaminated. States are remembered across episodes.

    Source: Emotional-ED, experiment 9. That the memory keeps the state before a step, and every
        state that is left while contaminated, is a defect of the original.
    """

    remembers: Remembers = "passed"
    """Every state that is left in contact or contaminated, as published, or of every episode the
    one in which contact was made."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the level and the memory."""
        super().allocate(rows, states, actions)
        self.memory = self.per_row((states,))

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Feels the place where an episode begins."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Remembers, then feels."""
        every = np.arange(self.rows)
        before, after = transition.before, transition.after
        if self.remembers == "passed":
            kept, state = after.context["contaminated"] > 0.0, before.state
        else:
            fresh = before.context["contaminated"] == 0.0
            kept, state = fresh & (after.context["touched"] > 0.0), after.state
        self.memory[every[kept], state[kept]] = 1.0
        self.level[:] = self._felt(after)

    def _felt(self, situation: Situation) -> np.ndarray:
        near = proximity(situation.context["contaminant_distance"])
        known = self.memory[np.arange(self.rows), situation.state] > 0.0
        contaminated = situation.context["contaminated"] > 0.0
        return np.maximum(near, np.maximum(0.8 * known, 0.5 * contaminated))


@dataclass(frozen=True)
class AwayFromRemembered:
    """A direction in a grid whose states are its cells.

    1 for the action away from the nearest remembered cell, `towards` for the one towards it, along
    the larger gap; nothing where there is none, or in one.
    """

    memory: Disgust
    """Whose memory."""
    width: int
    """Columns of the grid."""
    towards: float = -0.6
    """Of the action towards the cell, in units of the other."""

    def __call__(self, situation: Situation) -> np.ndarray:
        """The direction `[B, 4]`."""
        known = self.memory.memory > 0.0  # [B, S]
        row, column = np.divmod(np.arange(known.shape[1]), self.width)
        down = row - situation.state[:, None] // self.width  # [B, S]
        right = column - situation.state[:, None] % self.width
        distance = np.where(known, np.hypot(down, right), np.inf)
        nearest = np.where(known.any(axis=1), distance.argmin(axis=1), -1)
        nearer = towards(situation.state, nearest, self.width)  # -1 where nothing is meant
        every = np.flatnonzero(nearer >= 0)
        meant = np.zeros((len(known), 4))
        meant[every, nearer[every]] = self.towards
        meant[every, OPPOSITE[nearer[every]]] = 1.0
        return meant


class CleanDisgust(Emotion):
    """`max(0, 1 - d / 3)` of the nearest contaminated cell while there is something to keep clean.

    Source: the fair form of Emotional-ED, experiment 9: everybody sees the cell, and nothing is
        remembered of other episodes, in which it was elsewhere.
    """

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Feels the place where an episode begins."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Feels."""
        self.level[:] = self._felt(transition.after)

    def _felt(self, situation: Situation) -> np.ndarray:
        clean = 1.0 - situation.context["contaminated"]
        return clean * proximity(situation.context["contaminant_distance"])


def twice_on_contact(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """2 where the step ends on a contaminated cell, else 1; 1 at level 0."""
    touched = transition.after.context["touched"] > 0.0
    return np.where(touched & (level > 0.0), 2.0, 1.0)


@dataclass
class HabituatingFear(Emotion):
    """Fear of the threat or of what is contaminated, whichever is nearer, that wears off.

    `max(0, 1 - d / 3) exp(-.05 n)` after n steps that ended within 3 cells of one of them, in all
    episodes.

    Source: Emotional-ED, experiment 9; what counts as an exposure is our own reading.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the level and the count."""
        super().allocate(rows, states, actions)
        self.exposures = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near where an episode begins."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Fears what is near now, and gets used to it."""
        near = self._nearness(transition.after)
        self.level[:] = self._felt(transition.after)
        self.exposures += near > 0.0

    def _nearness(self, situation: Situation) -> np.ndarray:
        context = situation.context
        return proximity(np.minimum(context["threat_distance"], context["contaminant_distance"]))

    def _felt(self, situation: Situation) -> np.ndarray:
        return self._nearness(situation) * np.exp(-0.05 * self.exposures)
