"""Regret of the goal that was chosen, and what is remembered of it."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition


class GoalRegret(Emotion):
    """How much less a goal is worth than the one passed over, at the step that ends there.

    Source: Emotional-ED, experiment 7.
    """

    def feel(self, transition: Transition) -> None:
        """Regrets the goal, if it is worth regretting."""
        self.level[:] = np.maximum(0.0, -transition.after.context["regret"])


class RememberedRegret(Emotion):
    """What was regretted of a state so far: minus the sum, where the sum is below -.5, else 0.

    A goal's regret, or relief, is remembered of the state that the last step was taken from. The
    level has no upper limit.

    Source: Emotional-ED, experiment 7.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.memory = self.per_row((states,))

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Remembers what was regretted of the first state."""
        self.level[rows] = self._recalled(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Adds the regret, and remembers what was regretted of the state that was entered."""
        every = np.arange(self.rows)
        self.memory[every, transition.before.state] += transition.after.context["regret"]
        self.level[:] = self._recalled(transition.after)

    def _recalled(self, situation: Situation) -> np.ndarray:
        sums = self.memory[np.arange(self.rows), situation.state]
        return np.where(sums < -0.5, -sums, 0.0)


class RandomWhereRegretted(Influence):
    """A random action with probability `min(1, .3 e)`."""

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Replaces the choice."""
        replaced = draw() < np.minimum(1.0, 0.3 * level)
        random = (draw() * choice.values.shape[1]).astype(np.int64)
        return np.where(replaced, random, choice.action)
