"""Fear, anger and regret at once, each in a form that can change a choice."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.anger_agents import angry, pushes_until_open
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.forms import LearningGain
from erm_gym.agents.emotional_ed.goal_regret import GoalRegret
from erm_gym.agents.emotional_ed.moments import Transition
from erm_gym.agents.emotional_ed.shaping_agents import keeps_away


def scaled_up(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e`."""
    return 1.0 + level


def regretful() -> list[Channel]:
    """Learns more from a goal that is worth less than another."""
    return [Channel(GoalRegret(), [LearningGain(scaled_up)])]


def angry_and_regretful() -> list[Channel]:
    """All but the fear, which the registry adds."""
    return [*angry(), *regretful()]


def keeps_away_and_pushes() -> list[Channel]:
    """Both rules; a push that was begun is finished first."""
    return [*keeps_away(), *pushes_until_open()]
