"""What an emotional agent is compared with: its signal off, observed, as reward, false, scripted.

Every variant is a Q-learner in the same environment with the same budget of hyperparameters; what
differs is what its channels do. Source: DESIGN of the comparison after Emotional-ED, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from erm_gym.agents.emotional_ed import Channel
from erm_gym.agents.emotional_ed.baselines import count_bonus, pearce_hall, sticky
from erm_gym.agents.emotional_ed.controls import Levelled, Placebo
from erm_gym.agents.emotional_ed.deep_agents import DeepAgent
from erm_gym.agents.emotional_ed.forms import LearningGain
from erm_gym.agents.emotional_ed.harm import Harm, IntrinsicFear
from erm_gym.agents.emotional_ed.named import EmotionalAgent
from erm_gym.agents.emotional_ed.quantile_q import QuantileConfig
from erm_gym.agents.emotional_ed.shaping import PotentialShaping, Shaping

Parameters = Mapping[str, np.ndarray]
"""Hyperparameters by name, `[B]` each."""
Build = Callable[[EmotionalAgent, Parameters], Sequence[Channel]]

COSTS = (-0.3, -0.1, -0.03, -0.01, 0.01, 0.03, 0.1, 0.3)
"""Prices of an emotion, from those of one that is sought to those of one that is shunned."""
HARM_COSTS = (0.5, 1.0, 2.0, 4.0, 9.0)
"""How many times its cost a harm costs on top of it."""
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
    """Hyperparameters besides those that the agent's kind of learner tunes."""
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
    tabular: bool = False
    """Whether it needs a learner with a table."""
    quantiles: bool = False
    """Whether it is a distributional learner, which deep agents can be."""

    def fits(self, agent: EmotionalAgent, context: Mapping[str, np.ndarray]) -> bool:
        """Whether it can be made of the agent, with an environment's context."""
        if self.rule and agent.scripted is None:
            return False
        if self.needs is not None and self.needs not in context:
            return False
        deep = isinstance(agent, DeepAgent)
        return not (deep and self.tabular) and not (self.quantiles and not deep)

    def tuned(self, agent: EmotionalAgent) -> set[str]:
        """Names of the hyperparameters that are the learner's own."""
        return {*agent.search, *(("risk",) if self.quantiles else ())}

    def kind(self, agent: EmotionalAgent) -> EmotionalAgent:
        """The agent whose kind of learner it is."""
        if not self.quantiles:
            return agent
        assert isinstance(agent, DeepAgent)
        return replace(agent, config=QuantileConfig())


def _emotional(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(each.emotion, each.influences, each.weight * parameters["weight"])
        for each in agent.channels()
    ]


def _placebo(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(Placebo(each.emotion), each.influences, each.weight)
        for each in _emotional(agent, parameters)
    ]


def _constant(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    return [
        Channel(Levelled(each.emotion, parameters[f"level {number}"]), each.influences, each.weight)
        for number, each in enumerate(_emotional(agent, parameters))
    ]


def _part(learning: bool) -> Build:
    def build(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
        return [
            Channel(
                each.emotion,
                [one for one in each.influences if isinstance(one, LearningGain) == learning],
                each.weight,
            )
            for each in _emotional(agent, parameters)
        ]

    return build


def _observed(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    return [Channel(each.emotion, ()) for each in agent.channels()]


def _shaping(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    return [Channel(each.emotion, [Shaping(parameters["cost"])]) for each in agent.channels()]


def _potential(agent: EmotionalAgent, parameters: Parameters) -> list[Channel]:
    cost, discount = parameters["cost"], parameters.get("discount", agent.config.discount)
    return [Channel(each.emotion, [PotentialShaping(cost, discount)]) for each in agent.channels()]


def _scripted(agent: EmotionalAgent, parameters: Parameters) -> Sequence[Channel]:
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
    "harm-penalty": Variant(
        what="harm costs more than it does",
        build=lambda agent, parameters: [Channel(Harm(), [Shaping(parameters["cost"])])],
        search={"cost": HARM_COSTS},
    ),
    "intrinsic-fear": Variant(
        what="learned danger is a cost in the reward",
        build=lambda agent, parameters: [Channel(IntrinsicFear(), [Shaping(parameters["cost"])])],
        search={"cost": (0.03, 0.1, 0.3, 1.0)},
    ),
    "risk-averse": Variant(
        what="looks at the worst outcomes",
        build=lambda agent, parameters: (),
        search={"risk": (0.1, 0.25, 0.5, 1.0)},
        quantiles=True,
    ),
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
        tabular=True,
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
