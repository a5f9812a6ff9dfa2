"""Harm, and the learned fear of it: baselines without an emotion that know what hurt."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition

HARMFUL = 0.5
"""A step is harmful if it costs at least this share of the worst one so far."""
HORIZON = 5
"""Steps before a harmful one that count as dangerous."""


class Harm(Emotion):
    """How much a harmful step costs: minus its reward, and 0 at all other steps.

    A step is harmful if it costs at least half of what the worst step of this row cost so far. With
    `Shaping` it makes costs greater than they are.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.worst = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Nothing has hurt yet."""
        self.level[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Looks at the reward."""
        cost = np.maximum(0.0, -transition.reward)
        self.worst[:] = np.maximum(self.worst, cost)
        self.level[:] = np.where(self.harmful(cost), cost, 0.0)

    def harmful(self, cost: np.ndarray) -> np.ndarray:
        """Which of the costs `[B]` count as harm, `[B]` bool."""
        return (cost > 0.0) & (cost >= HARMFUL * self.worst)


class IntrinsicFear(Harm):
    """The learned probability that harm follows within five steps, times the worst cost so far.

    Of every state it counts how often it was left, and how often harm came within five steps of
    that. With `Shaping` this is intrinsic fear with a table in place of a network.

    Source: Lipton et al. 2016, "Combating reinforcement learning's Sisyphean curse with intrinsic
    fear", algorithm 1.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.seen = self.per_row((states,))
        self.dangerous = self.per_row((states,))
        self.recent = self.per_row((HORIZON,), fill=-1.0)
        self._every = np.arange(rows)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Harm of the next episode does not follow from the last one."""
        self.recent[rows] = -1.0
        self._fear(situation.state, rows)

    def feel(self, transition: Transition) -> None:
        """Counts, and fears where it has come to."""
        cost = np.maximum(0.0, -transition.reward)
        self.worst[:] = np.maximum(self.worst, cost)
        self.recent[:, 1:] = self.recent[:, :-1].copy()
        self.recent[:, 0] = transition.before.state
        self.seen[self._every, transition.before.state] += 1.0
        harmful = self.harmful(cost)
        for number in range(HORIZON):
            state = self.recent[:, number].astype(int)
            self.dangerous[self._every, state] += harmful & (state >= 0)
        self.recent[harmful] = -1.0  # a state is dangerous once for each harm
        self._fear(transition.after.state, np.ones(self.rows, bool))

    def _fear(self, state: np.ndarray, rows: np.ndarray) -> None:
        """Fears what followed from the states `[B]`."""
        seen = np.maximum(1.0, self.seen[self._every, state])
        felt = self.worst * np.minimum(1.0, self.dangerous[self._every, state] / seen)
        self.level[rows] = felt[rows]
