"""An emotion as reward: what a bias on actions has to beat, since anyone can write it."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Influence
from erm_gym.agents.emotional_ed.moments import Situation, Transition


class Shaping(Influence):
    """`r - k e(s')`.

    Args:
        cost: k, a number or `[B]`; negative where the emotion is to be sought.

    Source: Emotional-ED, section 3, rule 2.
    """

    def __init__(self, cost: float | np.ndarray) -> None:
        self.cost = cost

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Takes the cost of the emotion off the reward."""
        return reward - self.cost * level


class PotentialShaping(Influence):
    """`r + discount F(s') - F(s)` with the potential `F = -k e`, 0 at terminal states.

    It leaves the best policies what they are, and chooses among tied ones.

    Args:
        cost: k, a number or `[B]`.
        discount: Of the learner, a number or `[B]`.

    Source: Ng, Harada & Russell 1999.
    """

    def __init__(self, cost: float | np.ndarray, discount: float | np.ndarray) -> None:
        self.cost = cost
        self.discount = discount
        self._before: np.ndarray | None = None

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Remembers what was felt when the action was chosen."""
        self._before = level.copy()
        return values

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Adds the difference of the potentials."""
        assert self._before is not None
        after = np.where(transition.terminated, 0.0, -self.cost * level)
        return reward + self.discount * after + self.cost * self._before
