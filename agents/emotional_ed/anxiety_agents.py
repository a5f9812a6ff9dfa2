"""Agents that are anxious about a predator, and the rule that flees."""

from __future__ import annotations

from erm_gym.agents.emotional_ed.anxiety import Anxiety, flee
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.fear_agents import away_from_threat
from erm_gym.agents.emotional_ed.forms import Bonus, Override
from erm_gym.agents.emotional_ed.pitch_black_agents import certain


def anxious() -> list[Channel]:
    """A bonus for steps away from the predator."""
    return [Channel(Anxiety(), (Bonus(away_from_threat, relative=True),))]


def flight() -> list[Channel]:
    """The rule: flees from 3 cells away."""
    return [Channel(ProximityFear(reach=4.0), (Override(flee, certain),))]
