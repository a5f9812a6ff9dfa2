"""Agents in a mood, and the rule that goes by what happened last."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear_agents import HARM_RADIUS
from erm_gym.agents.emotional_ed.forms import Bonus
from erm_gym.agents.emotional_ed.moments import Situation
from erm_gym.agents.emotional_ed.mood import LastingMood, away_from_middle, towards_bonus


def moody() -> list[Channel]:
    """In a bad mood a bonus away from the middle, in a good one towards places of bonuses."""
    return [
        Channel(LastingMood(-1.0), [Bonus(away_from_middle, relative=True)]),
        Channel(LastingMood(1.0), [Bonus(towards_bonus, relative=True)]),
    ]


def by_last_event(situation: Situation) -> np.ndarray:
    """-1 for actions `[B, A]` into the middle after harm, 1 towards a bonus after a good event."""
    context = situation.context
    streak = context["streak"][:, None]
    into = context["next_middle_distance"] < HARM_RADIUS
    wanted = towards_bonus(situation) > 0.0
    return np.where(streak < 0.0, -1.0 * into, wanted * (streak > 0.0))


def goes_by_the_last_event() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Bonus(by_last_event, size=100.0)])]
