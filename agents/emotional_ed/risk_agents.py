"""Agents that look at worse outcomes where they fear, and the rule that never gambles."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import Bonus, RiskAversion
from erm_gym.agents.emotional_ed.moments import Situation


def risk_averse() -> list[Channel]:
    """Looks at the worst share `1 - .9 F` of the outcomes, for learners of distributions."""
    return [Channel(ProximityFear(), [RiskAversion(slope=0.9)])]


def onto_threat(situation: Situation) -> np.ndarray:
    """1 for the actions `[B, A]` that lead to the threat's own cell, else 0."""
    entered: np.ndarray = situation.context["next_threat_distance"] == 0.0
    return entered.astype(float)


def never_onto_threat() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Bonus(onto_threat, size=-100.0)])]
