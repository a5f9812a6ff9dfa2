"""Agents torn between a threat and the reward beside it, and the rule that minds its temper."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.conflict import Weighed, fear, pull
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear_agents import away_from_threat, into_reach
from erm_gym.agents.emotional_ed.forms import Bonus
from erm_gym.agents.emotional_ed.moments import Context, Situation


class AlertFear(Weighed):
    """Fear of an alert threat; a calm one frightens nobody."""

    def __init__(self) -> None:
        super().__init__(fear=1.0, pull=0.0)

    def _felt(self, context: Context) -> np.ndarray:
        return fear(context) * context["alert"]


class CalmPull(Weighed):
    """The pull of a reward beside a calm threat."""

    def __init__(self) -> None:
        super().__init__(fear=0.0, pull=1.0)

    def _felt(self, context: Context) -> np.ndarray:
        return pull(context) * (1.0 - context["alert"])


def towards_risky(situation: Situation) -> np.ndarray:
    """How much nearer to the risky reward each action leads, `[B, A]` in cells."""
    context = situation.context
    nearer: np.ndarray = context["risky_distance"][:, None] - context["next_risky_distance"]
    return nearer


def torn() -> list[Channel]:
    """A bonus away from an alert threat, and one towards the reward beside a calm one."""
    return [
        Channel(AlertFear(), [Bonus(away_from_threat, relative=True)]),
        Channel(CalmPull(), [Bonus(towards_risky, relative=True)]),
    ]


def by_temper(situation: Situation) -> np.ndarray:
    """-1 for actions `[B, A]` into an alert threat's reach; 1 towards the reward if it is calm."""
    context = situation.context
    alert = context["alert"][:, None] > 0.0
    towards = (towards_risky(situation) > 0.0) & (context["risky_left"][:, None] > 0.0)
    return np.where(alert, -into_reach(situation), towards)


def minds_its_temper() -> list[Channel]:
    """The rule, always."""
    return [Channel(Constant(), [Bonus(by_temper, size=100.0)])]
