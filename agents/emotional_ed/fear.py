"""Fear of what is near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition


def proximity(distance: np.ndarray, reach: float = 3.0) -> np.ndarray:
    """`max(0, 1 - d / reach)`.

    Args:
        distance: Distance to a threat, >= 0, of any shape.
        reach: Distance at which there is nothing to fear, > 0.

    Returns:
        In [0, 1], of the same shape.
    """
    return np.maximum(0.0, 1.0 - distance / reach)


@dataclass
class ProximityFear(Emotion):
    """`max(0, 1 - d / 3)` of the distance d to the nearest threat, nothing remembered.

    Source: Emotional-ED, section 1.
    """

    distance: str = "threat_distance"
    """Which part of the context is the distance."""
    reach: float = 3.0
    """Distance at which there is nothing to fear."""

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near where an episode begins."""
        felt = proximity(situation.context[self.distance], self.reach)
        self.level[rows] = felt[rows]

    def feel(self, transition: Transition) -> None:
        """Fears what is near now."""
        self.level[:] = proximity(transition.after.context[self.distance], self.reach)
