"""Agents that grieve for a resource, and the rule that looks for it once."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain, Override
from erm_gym.agents.emotional_ed.grief import Grief, numbed
from erm_gym.agents.emotional_ed.moments import Situation

PARTS = 6 * 2 * 2
"""States of every cell in the fair environment."""


def grieving() -> list[Channel]:
    """A bonus towards what was lost, and little learned from its absence."""
    grief = Grief(parts=PARTS)
    return [Channel(grief, [Bonus(grief.homewards, relative=True), LearningGain(numbed)])]


def looks_once() -> list[Channel]:
    """The rule: to where it was, once it may be back."""
    grief = Grief(parts=PARTS)

    def look(situation: Situation, values: np.ndarray) -> np.ndarray:
        unsure = situation.context["unsure"] > 0.0
        return np.where(unsure, grief.way_home(situation, values), -1)

    return [Channel(grief, [Override(look, lambda level: (level > 0.0).astype(float))])]
