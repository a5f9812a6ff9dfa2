"""Agents that learn faster and try more when surprised, and the rule that goes by what paid."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import Exploration, LearningGain, Override
from erm_gym.agents.emotional_ed.moments import Situation
from erm_gym.agents.emotional_ed.surprise import Surprise, faster


def surprised(*, from_error: bool = True) -> list[Channel]:
    """Lasting surprise learns faster, both kinds explore more, up to every second action."""
    return [
        Channel(Surprise(lasting_only=True, from_error=from_error), [LearningGain(faster)]),
        Channel(Surprise(from_error=from_error), [Exploration(0.3, ceiling=0.5)]),
    ]


def to_what_pays(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The action `[B]` towards the nearest item that pays as far as is known; -1 without one."""
    distance = situation.context["next_paying_distance"]
    nearest = distance == distance.min(axis=1, keepdims=True)
    best = np.where(nearest, values, -np.inf).argmax(axis=1)
    return np.where(np.ptp(distance, axis=1) > 0.0, best, -1)


def follows_what_paid() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Override(to_what_pays, lambda level: level)])]
