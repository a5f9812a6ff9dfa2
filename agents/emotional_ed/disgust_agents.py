"""Agents that are disgusted, and the rule that touches nothing contaminated."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.disgust import CleanDisgust, twice_on_contact
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain
from erm_gym.agents.emotional_ed.moments import Situation


def away_from_contaminant(situation: Situation) -> np.ndarray:
    """How much further from what is contaminated each action leads, `[B, A]` in cells."""
    context = situation.context
    return context["next_contaminant_distance"] - context["contaminant_distance"][:, None]


def into_contamination(situation: Situation) -> np.ndarray:
    """1 for the actions `[B, A]` of a clean agent into a contaminated cell."""
    context = situation.context
    touching = context["next_contaminant_distance"] == 0.0
    return touching * (1.0 - context["contaminated"])[:, None]


def disgusted() -> list[Channel]:
    """A bonus for steps away from what is contaminated, and twice the learning on contact."""
    influences = (Bonus(away_from_contaminant, relative=True), LearningGain(twice_on_contact))
    return [Channel(CleanDisgust(), influences)]


def stays_clean() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Bonus(into_contamination, size=-100.0)])]
