"""Patience to charge a battery before it is empty."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Context, Situation, Transition


def patience(battery: np.ndarray, reserve: np.ndarray) -> np.ndarray:
    """How much a battery asks for patience.

    1 where it is at most 15 % full, `min(1, 2 (.3 - b) / .3)` up to 30 %, .2 up to 50 %, else 0; at
    least .8 where fewer than 5 steps are left beyond those to a charger.

    Args:
        battery: `[B]` in [0, 1], how full it is.
        reserve: `[B]`, steps that it lasts beyond those to the nearest charger.

    Returns:
        `[B]` in [0, 1].

    Source: Emotional-ED, experiment 23.
    """
    low = np.minimum(1.0, 2.0 * (0.3 - battery) / 0.3)  # 1 below .15
    asked = np.where(battery <= 0.3, low, np.where(battery <= 0.5, 0.2, 0.0))
    return np.where(reserve < 5.0, np.maximum(0.8, asked), asked)


class Patience(Emotion):
    """`patience` of the battery as it is, nothing remembered.

    Source: Emotional-ED, experiment 23.
    """

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Looks at the battery with which an episode begins."""
        self.level[rows] = self._felt(situation.context)[rows]

    def feel(self, transition: Transition) -> None:
        """Looks at the battery."""
        self.level[:] = self._felt(transition.after.context)

    def _felt(self, context: Context) -> np.ndarray:
        return patience(context["battery"], context["reserve"])


def towards_charger(situation: Situation) -> np.ndarray:
    """1 for the first action that leads nearer to the charger, .7 for the second, `[B, A]`."""
    nearer = _nearer(situation, "charger")
    return np.where(nearer, np.where(nearer.cumsum(axis=1) == 1, 1.0, 0.7), 0.0)


def step_to_charger(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The first action `[B]` that leads nearer to the charger; -1 on it."""
    return _first(_nearer(situation, "charger"))


def while_in_reach(situation: Situation, values: np.ndarray) -> np.ndarray:
    """A step `[B]` to the waypoint if the battery lasts there and to a charger, else to that one.

    On the charger, where nothing is left to wait for, it goes on to the waypoint in any case.
    """
    context = situation.context
    going_on = (context["reachable"] > 0.0) | (context["charger_distance"] == 0.0)
    waypoint, charger = (_first(_nearer(situation, name)) for name in ("waypoint", "charger"))
    return np.where(going_on, waypoint, charger)


def more_patient_than_not(level: np.ndarray) -> np.ndarray:
    """Probability e of a step to the charger where e > .5, else 0."""
    return np.where(level > 0.5, level, 0.0)


def _nearer(situation: Situation, name: str) -> np.ndarray:
    context = situation.context
    nearer: np.ndarray = context[f"next_{name}_distance"] < context[f"{name}_distance"][:, None]
    return nearer


def _first(chosen: np.ndarray) -> np.ndarray:
    return np.where(chosen.any(axis=1), chosen.argmax(axis=1), -1)
