"""Wanting and liking of things to eat; in addiction the one grows and the other fades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Context, Situation, Transition

REACH = 4.0
"""Distance in cells at which an item is neither wanted nor liked."""


@dataclass
class Appetite(Emotion):
    """The greatest `salience max(0, 1 - d / 4)` of the items left, times `1 - dulled satiation`.

    The level has no upper limit where habits grow.

    Source: Emotional-ED, experiment 10.
    """

    wanted: float
    """Salience of the wanted item."""
    liked: float
    """Of the liked one."""
    regular: float
    """Of the regular one."""
    dulled: float
    """What a satiation of 1 takes away, as a share."""
    habit: float = 1.0
    """Factor of all of it with every wanted item that was ever eaten."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the level and the habit."""
        super().allocate(rows, states, actions)
        self.baseline = self.per_row(fill=1.0)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Looks around; habits stay."""
        self.level[rows] = self._felt(situation.context)[rows]

    def feel(self, transition: Transition) -> None:
        """Looks around, after what was eaten has changed the habit."""
        context = transition.after.context
        self.baseline[:] = np.where(
            context["ate_wanted"] > 0.0, self.baseline * self.habit, self.baseline
        )
        self.level[:] = self._felt(context)

    def _felt(self, context: Context) -> np.ndarray:
        near = [
            salience * np.maximum(0.0, 1.0 - context[f"{item}_distance"] / REACH)
            for item, salience in (
                ("wanted", self.wanted),
                ("liked", self.liked),
                ("regular", self.regular),
            )
        ]
        sated = np.maximum(0.0, 1.0 - self.dulled * context["satiation"])
        felt: np.ndarray = self.baseline * np.max(near, axis=0) * sated
        return felt


def wanting(*, habit: float = 1.0) -> Appetite:
    """Sees the wanted item first, and hardly tires of it."""
    return Appetite(wanted=1.5, liked=0.7, regular=1.0, dulled=0.2, habit=habit)


def liking(*, habit: float = 1.0) -> Appetite:
    """Prefers the liked item, and tires."""
    return Appetite(wanted=0.5, liked=1.0, regular=0.6, dulled=0.6, habit=habit)


class SalienceWanting(Emotion):
    """`max(0, 1 - d / 10) (1 - .2 satiation)` at d steps from the item that a cue makes salient.

    Source: the fair form of Emotional-ED, experiment 10; the reach is our own: the whole grid.
    """

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Sees the cue."""
        self.level[rows] = self._felt(situation.context)[rows]

    def feel(self, transition: Transition) -> None:
        """Wants what is salient until it is eaten."""
        self.level[:] = self._felt(transition.after.context)

    def _felt(self, context: Context) -> np.ndarray:
        near = np.maximum(0.0, 1.0 - context["salient_distance"] / 10.0)
        return near * (1.0 - 0.2 * context["satiation"])


def towards_salient(situation: Situation) -> np.ndarray:
    """How much nearer to the salient item each action leads, `[B, A]` in steps."""
    context = situation.context
    return context["salient_distance"][:, None] - context["next_salient_distance"]


def to_salient(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The best action `[B]` of those towards the salient item; -1 once it is eaten."""
    nearer = towards_salient(situation) > 0.0
    best = np.where(nearer, values, -np.inf).argmax(axis=1)
    return np.where(nearer.any(axis=1), best, -1)


def hooked(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """1.75 where the wanted item was eaten, else 1; 1 at level 0."""
    ate = (transition.after.context["ate_wanted"] > 0.0) & (level > 0.0)
    return np.where(ate, 1.75, 1.0)


def savoured(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + .75 r` of rewards above .5; 1.5 for costs where e > .3; else 1."""
    reward = transition.reward
    factor = np.where((reward > 0.5) & (level > 0.0), 1.0 + 0.75 * reward, 1.0)
    return np.where((reward < 0.0) & (level > 0.3), 1.5, factor)
