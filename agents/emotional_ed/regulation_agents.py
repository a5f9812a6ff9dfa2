"""An agent that stops fearing what turns out to be safe, and the rule that goes by types."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear_agents import away_from_threat, into_reach
from erm_gym.agents.emotional_ed.forms import Bonus
from erm_gym.agents.emotional_ed.moments import Situation
from erm_gym.agents.emotional_ed.regulation import FAKE, TypeRegulated

SIGHT = 3.0
"""Distance in cells below which the rule minds a fake threat, as fear minds a real one."""


def regulated() -> list[Channel]:
    """A malus for steps into a threat's reach, the less the safer its type is believed to be."""
    return [Channel(TypeRegulated(), [Bonus(into_reach, size=-2.0, relative=True)])]


def by_type(situation: Situation) -> np.ndarray:
    """-1 for actions `[B, A]` into a real threat's reach, 1 towards a fake one in sight, or 0."""
    context = situation.context
    fake = context["type"][:, None] == FAKE
    nearer = away_from_threat(situation) < 0.0
    seen = context["threat_distance"][:, None] < SIGHT
    return np.where(fake, 1.0 * (nearer & seen), -into_reach(situation))


def goes_by_type() -> list[Channel]:
    """The rule, always, told what the types mean."""
    return [Channel(Constant(), [Bonus(by_type, size=100.0)])]
