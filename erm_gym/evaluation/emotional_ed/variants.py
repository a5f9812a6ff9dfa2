"""What an emotional agent is compared with: its signal off, observed, as reward, false, scripted.

Every variant is a Q-learner in the same environment with the same budget of hyperparameters; what
differs is what its channels do. Source: DESIGN of the comparison after Emotional-ED, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from erm_gym.agents.emotional_ed import Channel
from erm_gym.agents.emotional_ed.baselines import count_bonus, pearce_hall, sticky
from erm_gym.agents.emotional_ed.controls import Constant, Placebo
from erm_gym.agents.emotional_ed.forms import LearningGain
from erm_gym.agents.emotional_ed.registry import ClassicAgent
from erm_gym.agents.emotional_ed.shaping import PotentialShaping, Shaping

Parameters = Mapping[str, np.ndarray]
"""Hyperparameters by name, `[B]` each."""
Build = Callable[[ClassicAgent, Parameters], Sequence[Channel]]

LEARNING: Mapping[str, Sequence[float]] = {
    "learning_rate": (0.05, 0.1, 0.2, 0.3, 0.5, 0.8),
    "epsilon": (0.05, 0.1, 0.2, 0.35, 0.5),
    "discount": (0.8, 0.9, 0.99),
}
"""What every variant searches. Source: Emotional-ED, section 3, rule 1."""
COSTS = (-0.3, -0.1, -0.03, -0.01, 0.01, 0.03, 0.1, 0.3)
"""Prices of an emotion, from those of one that is sought to those of one that is shunned."""
OBSERVED_LEVELS = 4
EMOTIONAL = "emotional"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the agents that are compared."""

    what: str
    """What it is, in a few words."""
    build: Build
    """Makes its channels from the agent's spec and the hyperparameters."""
    search: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Hyperparameters besides those of `LEARNING`."""
    baseline: bool = True
    """Whether it has the same information and no emotion, so that the agent must beat it."""
    parameters_of: str | None = None
    """The variant whose hyperparameters it takes; None if it has its own search."""
    observed_levels: int = 1
    """Parts of a level that belong to the state."""
    needs: str | None = None
    """Part of the context that it needs."""
    rule: bool = False
    """Whether it is the agent's scripted rule, which not every agent has."""


def _emotional(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(each.emotion, each.influences, each.weight * parameters["weight"])
        for each in agent.channels()
    ]


def _placebo(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(Placebo(each.emotion), each.influences, each.weight)
        for each in _emotional(agent, parameters)
    ]


def _constant(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(Constant(parameters[f"level {number}"]), each.influences, each.weight)
        for number, each in enumerate(_emotional(agent, parameters))
    ]


def _part(learning: bool) -> Build:
    def build(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
        return [
            Channel(
                each.emotion,
                [one for one in each.influences if isinstance(one, LearningGain) == learning],
                each.weight,
            )
            for each in _emotional(agent, parameters)
        ]

    return build


def _observed(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    return [Channel(each.emotion, ()) for each in agent.channels()]


def _shaping(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    return [Channel(each.emotion, [Shaping(parameters["cost"])]) for each in agent.channels()]


def _potential(agent: ClassicAgent, parameters: Parameters) -> list[Channel]:
    cost, discount = parameters["cost"], parameters["discount"]
    return [Channel(each.emotion, [PotentialShaping(cost, discount)]) for each in agent.channels()]


def _scripted(agent: ClassicAgent, parameters: Parameters) -> Sequence[Channel]:
    return agent.scripted() if agent.scripted is not None else ()


VARIANTS: Mapping[str, Variant] = {
    "off": Variant(what="the signal is not used", build=lambda agent, parameters: ()),
    EMOTIONAL: Variant(
        what="the agent itself",
        build=_emotional,
        search={"weight": (0.1, 0.3, 1.0, 3.0)},
        baseline=False,
    ),
    "observation": Variant(
        what="the signal is observed", build=_observed, observed_levels=OBSERVED_LEVELS
    ),
    "shaping": Variant(
        what="the signal is a cost in the reward", build=_shaping, search={"cost": COSTS}
    ),
    "potential": Variant(
        what="the signal is a potential", build=_potential, search={"cost": COSTS}
    ),
    "scripted": Variant(what="a rule on the same signal", build=_scripted, rule=True),
    "sticky": Variant(
        what="repeats actions",
        build=lambda agent, parameters: sticky(parameters["probability"]),
        search={"probability": (0.5, 0.6, 0.8)},
    ),
    "sticky-blocked": Variant(
        what="repeats blocked actions",
        build=lambda agent, parameters: sticky(parameters["probability"], when_blocked=True),
        search={"probability": (0.5, 0.6, 0.8)},
        needs="blocked",
    ),
    "count-bonus": Variant(
        what="prefers what it seldom did",
        build=lambda agent, parameters: count_bonus(parameters["size"]),
        search={"size": (0.01, 0.1, 1.0)},
    ),
    "pearce-hall": Variant(
        what="learns faster where surprised",
        build=lambda agent, parameters: pearce_hall(
            parameters["slope"], parameters["learning_rate"]
        ),
        search={"slope": (0.1, 0.4, 0.8)},
    ),
    "placebo": Variant(
        what="feels what another row felt at another time",
        build=_placebo,
        baseline=False,
        parameters_of=EMOTIONAL,
    ),
    "constant": Variant(
        what="feels the agent's own mean everywhere",
        build=_constant,
        baseline=False,
        parameters_of=EMOTIONAL,
    ),
    "learning-part": Variant(
        what="the emotion acts on learning alone",
        build=_part(learning=True),
        baseline=False,
        parameters_of=EMOTIONAL,
    ),
    "action-part": Variant(
        what="the emotion acts on choices alone",
        build=_part(learning=False),
        baseline=False,
        parameters_of=EMOTIONAL,
    ),
}
"""Every variant by its name."""
