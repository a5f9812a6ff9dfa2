"""Fear of a threat and the pull of a reward beside it, and what comes of both at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.fear import proximity
from erm_gym.agents.emotional_ed.moments import Choice, Context, Situation, Transition

SIGHT = 2.5
"""Distance of the threat below which the reward beside it pulls."""


def fear(context: Context) -> np.ndarray:
    """`max(0, 1 - d / 3)` of the threat's distance, `[B]`."""
    return proximity(context["threat_distance"])


def pull(context: Context) -> np.ndarray:
    """`max(0, 1 - d / 3)` of the risky reward's distance while it is left and the threat near."""
    pulls = (context["risky_left"] > 0.0) & (context["threat_distance"] < SIGHT)
    return np.where(pulls, proximity(context["risky_distance"]), 0.0)


@dataclass
class Weighed(Emotion):
    """Fear and pull, each with a weight: the first one's surplus over the second, at least 0.

    Source: Emotional-ED, experiment 5.
    """

    fear: float
    """Weight of the fear; below 0 where it is what is taken away."""
    pull: float
    """Weight of the pull."""

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Feels what the start asks for."""
        self.level[rows] = self._felt(situation.context)[rows]

    def feel(self, transition: Transition) -> None:
        """Feels what the place asks for, nothing remembered."""
        self.level[:] = self._felt(transition.after.context)

    def _felt(self, context: Context) -> np.ndarray:
        return np.maximum(0.0, self.fear * fear(context) + self.pull * pull(context))


class Standoff(Weighed):
    """The lesser one of fear and pull.

    Source: Emotional-ED, experiment 5.
    """

    def __init__(self) -> None:
        super().__init__(fear=1.0, pull=1.0)

    def _felt(self, context: Context) -> np.ndarray:
        return np.minimum(fear(context), pull(context))


@dataclass(frozen=True)
class NoisyValues(Influence):
    """Chooses by `Q + size e N(0, 1)`, of each action its own, where e > .3.

    Source: Emotional-ED, experiment 5.
    """

    size: float = 0.1
    """Standard deviation of a level of 1."""

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Chooses again where it was not at random."""
        noise = np.stack([standard_normal(draw) for _ in range(choice.values.shape[1])], axis=1)
        again = (choice.values + self.size * level[:, None] * noise).argmax(axis=1)
        return np.where((level > 0.3) & ~choice.explored, again, choice.action)


def standard_normal(draw: Draw) -> np.ndarray:
    """Normal numbers `[B]` from two draws, after Box and Muller."""
    radius = np.sqrt(-2.0 * np.log1p(-draw()))
    normal: np.ndarray = radius * np.cos(2.0 * np.pi * draw())
    return normal
