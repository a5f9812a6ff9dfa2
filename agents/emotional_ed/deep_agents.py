"""Deep agents by name: the kind of network, and a short list of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.deep_q import DeepQConfig, DeepQLearner
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.fear_agents import away_from_threat
from erm_gym.agents.emotional_ed.forms import Bonus, Override, RiskAversion
from erm_gym.agents.emotional_ed.moments import Situation
from erm_gym.agents.emotional_ed.quantile_q import QuantileConfig, QuantileQLearner
from erm_gym.agents.emotional_ed.registry import Channels

CLIFF = "ErmGym/SlipperyCliff-v1"


@dataclass(frozen=True, kw_only=True)
class DeepAgent:
    """A deep Q-learner with channels, as `ClassicAgent` is a tabular one."""

    channels: Channels = list
    """What it feels, and what that does."""
    scripted: Channels | None = None
    """A hand-written rule on the same signal, as channels of a plain learner; None if there is
    none."""
    config: DeepQConfig = field(default_factory=DeepQConfig)
    """Hyperparameters; a `QuantileConfig` makes it a distributional learner."""

    env: str | None = None
    """The fair environment it was made for; None for an agent of no experiment."""
    search: ClassVar[Mapping[str, Sequence[float]]] = {"learning_rate": (3e-4, 1e-3, 3e-3)}
    """Hyperparameters that a fair comparison tunes."""

    def learner(
        self,
        seeds: Sequence[int],
        sizes: Sequence[int],
        num_actions: int,
        channels: Sequence[Channel] | None = None,
        *,
        observed_levels: int = 1,
        **hyperparameters: Any,
    ) -> DeepQLearner:
        """A fresh learner; arguments as for `ClassicAgent.learner`."""
        config = replace(self.config, **hyperparameters)
        felt = self.channels() if channels is None else channels
        kind = QuantileQLearner if isinstance(config, QuantileConfig) else DeepQLearner
        return kind(seeds, sizes, num_actions, config, felt, observed_levels=observed_levels)


def step_away(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The best `[B]` of the actions that lead furthest from the threat; none where all are alike.

    Args:
        situation: Its context has `threat_distance` and `next_threat_distance`.
        values: `[B, A]`.

    Returns:
        `[B]` int, -1 where no action leads away.
    """
    away = away_from_threat(situation)
    furthest = away == away.max(axis=1, keepdims=True)
    best = np.where(furthest, values, -np.inf).argmax(axis=1)
    found: np.ndarray = np.where(away.max(axis=1) > 0.0, best, -1)
    return found


def _afraid() -> Override:
    """Random moves lead away from the threat, with the probability of the fear."""
    return Override(step_away, probability=lambda level: level, only_explored=True)


def _feared() -> list[Channel]:
    return [Channel(ProximityFear(), (Bonus(away_from_threat, size=0.5, relative=True), _afraid()))]


def _risk_feared() -> list[Channel]:
    bonus = Bonus(away_from_threat, size=0.25, relative=True)
    return [Channel(ProximityFear(), (RiskAversion(slope=0.5), bonus, _afraid()))]


def _scripted() -> list[Channel]:
    beside = Override(step_away, probability=lambda level: (level >= 2 / 3 - 1e-9).astype(float))
    return [Channel(ProximityFear(), (beside,))]


DEEP_AGENTS: dict[str, DeepAgent] = {
    "dqn": DeepAgent(),
    "feared-dqn": DeepAgent(channels=_feared, scripted=_scripted, env=CLIFF),
    "qr-dqn": DeepAgent(config=QuantileConfig()),
    "cvar-dqn": DeepAgent(config=QuantileConfig(risk=0.5)),
    "cvar-feared-dqn": DeepAgent(
        channels=_risk_feared, scripted=_scripted, config=QuantileConfig(), env=CLIFF
    ),
}
"""Every deep agent by its name."""
