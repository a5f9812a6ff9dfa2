"""The rival of every emotion: the same signal as part of the reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Context, Transition


@dataclass
class Always(Emotion):
    """A level that never changes, for influences that need no emotion."""

    constant: float = 1.0
    """The level."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Sets the level."""
        super().allocate(rows, states, actions)
        self.level[:] = self.constant


@dataclass(frozen=True)
class Penalty(Influence):
    """`r - size e(s')`: what is felt after the step is learned as a cost.

    It changes which policy is best.
    """

    size: float
    """Cost of a level of 1; negative for a bonus."""

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Subtracts the cost."""
        return reward - self.size * level


@dataclass(frozen=True)
class PotentialBased(Influence):
    """`r + e (discount Phi(s') - Phi(s))`, with Phi 0 where an episode terminates.

    It leaves the best policies what they were, but may choose among tied ones. Use it with
    `Always`: the potential is of the situation, not of what is felt.

    Source: Ng, Harada & Russell 1999.
    """

    potential: Callable[[Context], np.ndarray] = field(kw_only=True)
    """Phi `[B]` of a context."""
    discount: float = 0.99
    """The learner's."""

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Adds the difference of the potentials."""
        before = self.potential(transition.before.context)
        after = np.where(transition.terminated, 0.0, self.potential(transition.after.context))
        return reward + level * (self.discount * after - before)
