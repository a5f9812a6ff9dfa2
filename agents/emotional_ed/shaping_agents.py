"""Agents that have their fear in the reward, and the rule that keeps away from a threat."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.fear import ProximityFear, proximity
from erm_gym.agents.emotional_ed.forms import Override
from erm_gym.agents.emotional_ed.moments import Context, Situation
from erm_gym.agents.emotional_ed.shaping import Always, Penalty, PotentialBased

SAFE_DISTANCE = 1.5
"""Cells nearer than this are not entered by the rule."""


def unafraid(context: Context) -> np.ndarray:
    """Minus the fear of what is near, as a potential."""
    return -proximity(context["threat_distance"])


def keep_away(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The best action that enters no cell near the threat; -1 where every action does."""
    safe = situation.context["next_threat_distance"] >= SAFE_DISTANCE  # [B, A]
    best = np.where(safe, values, -np.inf).argmax(axis=1)
    return np.where(safe.any(axis=1), best, -1)


def keeps_away() -> list[Channel]:
    """The rule, always."""
    return [Channel(Always(), [Override(keep_away, lambda level: level)])]


def shaped() -> list[Channel]:
    """Fear as a cost of .1, the expected harm beside the threat of `ErmGym/FearGrid-v1`."""
    return [Channel(ProximityFear(), [Penalty(0.1)])]


def potential() -> list[Channel]:
    """Fear as a potential."""
    return [Channel(Always(), [PotentialBased(potential=unafraid)])]
