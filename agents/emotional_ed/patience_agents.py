"""Agents that are patient enough to charge, and the rule that goes on only while it can return."""

from __future__ import annotations

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import Bonus, Override
from erm_gym.agents.emotional_ed.patience import Patience, towards_charger, while_in_reach


def patient() -> list[Channel]:
    """A bonus for steps to the nearest charger."""
    return [Channel(Patience(), [Bonus(towards_charger, relative=True)])]


def goes_on_while_in_reach() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Override(while_in_reach, lambda level: level)])]
