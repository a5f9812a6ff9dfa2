"""Agents that want what is salient, and the rule that always takes it first."""

from __future__ import annotations

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain, Override
from erm_gym.agents.emotional_ed.pitch_black_agents import certain
from erm_gym.agents.emotional_ed.wanting import (
    SalienceWanting,
    hooked,
    to_salient,
    towards_salient,
)


def wanting_salience() -> list[Channel]:
    """A bonus for steps towards what is salient, and more learned from the wanted item."""
    influences = (Bonus(towards_salient, relative=True), LearningGain(hooked))
    return [Channel(SalienceWanting(), influences)]


def salient_first() -> list[Channel]:
    """The rule, until the salient item is eaten."""
    return [Channel(SalienceWanting(), [Override(to_salient, certain)])]
