"""Agents that are angry at what is in the way, and the rule that pushes until a door opens."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.anger import Anger, repeated_if_blocked
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import Bonus, Override
from erm_gym.agents.emotional_ed.moments import Context, Situation
from erm_gym.agents.emotional_ed.persistence import DoorAnger


def steady(count: np.ndarray, context: Context) -> np.ndarray:
    """.3 for every block."""
    return np.full(len(count), 0.3)


def angry() -> list[Channel]:
    """A bonus for what was blocked, up to the spread of the action values."""
    anger = Anger(steady, fading=0.8, forgets=True)
    return [Channel(anger, [Bonus(repeated_if_blocked, relative=True)])]


def persistent() -> list[Channel]:
    """The same with an anger that sees how often the door was pushed."""
    return [Channel(DoorAnger(), [Bonus(repeated_if_blocked, relative=True)])]


def push_on(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The last push again, until a door has been pushed as often as any door needs."""
    context = situation.context
    go_on = (context["pushing"] > 0.0) & (context["pushes"] > 0.0) & (context["pushes"] < 1.0)
    return np.where(go_on, situation.last_action, -1)


def pushes_until_open() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Override(push_on, lambda level: level)])]
