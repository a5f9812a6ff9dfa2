"""Fear that is learned in one place, and what of it holds in another."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.moments import Situation, Transition

BAD = -0.2
"""The reward below which a step is bad."""


class PlaceFear(Emotion):
    """Fear of single states: each gains .2 with a bad step that ends there, else fades by .95.

    Attributes:
        fear: `[B, S]` in [0, 1].

    Source: Emotional-ED, experiment 11, the agent without transfer.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.fear = self.per_row((states,))
        self._every = np.arange(rows)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what it learned of the first state."""
        self.level[rows] = self.fear[self._every, situation.state][rows]

    def feel(self, transition: Transition) -> None:
        """Learns about the state that was entered."""
        place = (self._every, transition.after.state)
        before = self.fear[place]
        bad = transition.reward < BAD
        self.fear[place] = np.where(bad, np.minimum(1.0, before + 0.2), 0.95 * before)
        self.level[:] = self.fear[place]


class WidthFear(Emotion):
    """`max(0, 1 - d / T)` of the distance d to the threat, whose reach T is learned, in [1, 3].

    Within a distance of 2 the reach gains .1 with a bad step, and loses .05 with a good one.

    Attributes:
        reach: `[B]`; 2 at first. It is never forgotten.

    Source: Emotional-ED, experiment 11, the emotional agent.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.reach = self.per_row(fill=2.0)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near."""
        distance = situation.context["threat_distance"]
        self.level[rows] = np.maximum(0.0, 1.0 - distance / self.reach)[rows]

    def feel(self, transition: Transition) -> None:
        """Learns how far the threat reaches."""
        distance = transition.after.context["threat_distance"]
        change = np.where(transition.reward < BAD, 0.1, np.where(transition.reward > 0, -0.05, 0.0))
        learned = np.clip(self.reach + change, 1.0, 3.0)
        self.reach[:] = np.where(distance < 2.0, learned, self.reach)
        self.level[:] = np.maximum(0.0, 1.0 - distance / self.reach)
