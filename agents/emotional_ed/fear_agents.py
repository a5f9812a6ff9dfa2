"""Agents that fear a threat, and the rule that never goes near it."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain
from erm_gym.agents.emotional_ed.moments import Situation, Transition
from erm_gym.agents.emotional_ed.transferred_fear import WidthFear

HARM_RADIUS = 1.5
"""Distance in cells within which a threat does harm."""


def away_from_threat(situation: Situation) -> np.ndarray:
    """How much nearer to a threat each action does *not* lead, `[B, A]` in cells."""
    context = situation.context
    return context["next_threat_distance"] - context["threat_distance"][:, None]


def more_from_losses(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e` where an outcome is worse than expected, else `1 + e / 2`."""
    return 1.0 + level * np.where(error < 0.0, 1.0, 0.5)


def into_reach(situation: Situation) -> np.ndarray:
    """1 for the actions `[B, A]` that lead to a cell where a threat can do harm, else 0."""
    reached: np.ndarray = (situation.context["next_threat_distance"] < HARM_RADIUS).astype(float)
    return reached


def never_into_reach() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Bonus(into_reach, size=-100.0)])]


def transfer_feared() -> list[Channel]:
    """The same, without the gain, with a fear that learns how far the threat reaches."""
    return [Channel(WidthFear(), [Bonus(away_from_threat, relative=True)])]


def feared() -> list[Channel]:
    """A bonus for steps away from the threat, and more learned from losses."""
    influences = (Bonus(away_from_threat, relative=True), LearningGain(more_from_losses))
    return [Channel(ProximityFear(), influences)]
