"""Anxiety about something that comes nearer, and flight from it."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition


def nearness(distance: np.ndarray) -> np.ndarray:
    """1 up to a distance of 1, `(3 - d) / 3` up to 3, else 0, of any shape."""
    return np.where(distance <= 1.0, 1.0, np.maximum(0.0, (3.0 - distance) / 3.0))


class Anxiety(Emotion):
    """Rises at once with nearness, .2 higher where the threat is nearing, and falls slowly.

    `e = max(base, .8 e + .2 base)`, where base is at most 1.

    Source: Emotional-ED, experiment 22.
    """

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Is as anxious as the place where an episode begins makes it."""
        self.level[rows] = nearness(situation.context["threat_distance"])[rows]

    def feel(self, transition: Transition) -> None:
        """Rises, or falls a fifth of the way."""
        distance = transition.after.context["threat_distance"]
        nearing = distance < transition.before.context["threat_distance"]
        base = np.minimum(1.0, nearness(distance) + 0.2 * nearing)
        self.level[:] = np.maximum(base, 0.8 * self.level + 0.2 * base)


def flee(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The action `[B]` that leads furthest from the threat; of equals the most valuable one."""
    distance = situation.context["next_threat_distance"]
    best = distance == distance.max(axis=1, keepdims=True)
    return np.where(best, values, -np.inf).argmax(axis=1)


def nearer(situation: Situation) -> np.ndarray:
    """1 for actions that lead nearer to the threat, else 0, `[B, A]`."""
    context = situation.context
    return (context["next_threat_distance"] < context["threat_distance"][:, None]).astype(float)


def flight(level: np.ndarray) -> np.ndarray:
    """Probability `.8 e` of flight where e > .5, else 0."""
    return np.where(level > 0.5, 0.8 * level, 0.0)


def twice_when_caught(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """2 where the threat has caught the agent, else 1."""
    caught = transition.after.context["threat_distance"] == 0.0
    return np.where(caught & (level > 0.0), 2.0, 1.0)
