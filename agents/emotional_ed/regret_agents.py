"""Agents that regret doors, and the rule that takes the door that was better the last time."""

from __future__ import annotations

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import LearningGain, Override
from erm_gym.agents.emotional_ed.regret import (
    ForegoneLearning,
    Regret,
    heeded,
    lose_shift,
)


def both_doors(rate: float = 0.05) -> list[Channel]:
    """No emotion: learns from the other door's reward.

    Args:
        rate: Learning rate of the other door.
    """
    return [Channel(Constant(), [ForegoneLearning(rate)])]


def regretful() -> list[Channel]:
    """Learns more when there is regret, and from both doors."""
    return [Channel(Regret(), [LearningGain(heeded)]), *both_doors()]


def wins_stays_loses_shifts() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Override(lose_shift, lambda level: level)])]
