"""Fear, anger and regret at once, each in a form that can change a choice."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.anger_agents import angry, pushes_until_open
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.fear_agents import feared, never_into_reach
from erm_gym.agents.emotional_ed.forms import LearningGain
from erm_gym.agents.emotional_ed.goal_regret import GoalRegret
from erm_gym.agents.emotional_ed.moments import Transition


def scaled_up(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e`."""
    return 1.0 + level


def regretful() -> list[Channel]:
    """Learns more from a goal that is worth less than another."""
    return [Channel(GoalRegret(), [LearningGain(scaled_up)])]


def integrated() -> list[Channel]:
    """Fear, anger and regret."""
    return [*feared(), *angry(), *regretful()]


def keeps_away_and_pushes() -> list[Channel]:
    """Both rules; a push that was begun is finished first."""
    return [*never_into_reach(), *pushes_until_open()]
