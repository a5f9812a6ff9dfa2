"""Tabular agents by name: short lists of channels, with the rule that has the same information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from erm_gym.agents.emotional_ed.anger_agents import angry, persistent, pushes_until_open
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain
from erm_gym.agents.emotional_ed.integrated_agents import (
    angry_and_regretful,
    keeps_away_and_pushes,
)
from erm_gym.agents.emotional_ed.moments import Situation, Transition
from erm_gym.agents.emotional_ed.q_learner import QConfig
from erm_gym.agents.emotional_ed.shaping_agents import keeps_away, potential, shaped
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.llm.suggestion import suggest

Channels = Callable[[], Sequence[Channel]]
"""Makes an agent's channels; called anew for every learner, since they hold its emotions."""


@dataclass(frozen=True, kw_only=True)
class ClassicAgent:
    """A Q-learner with channels."""

    channels: Channels
    """What it feels, and what that does."""
    scripted: Channels | None = None
    """A hand-written rule on the same signal, as channels of a plain learner; None if there is
    none."""
    config: QConfig = field(default_factory=QConfig)
    """Hyperparameters, where nothing was tuned."""


def classic_agent(name: str) -> ClassicAgent:
    """What stands behind a name.

    Raises:
        AgentError: If the name is unknown; it suggests the nearest.
    """
    if name not in CLASSIC_AGENTS:
        raise AgentError(f"unknown agent {name!r}; {suggest(name, list(CLASSIC_AGENTS))}")
    return CLASSIC_AGENTS[name]


def away_from_threat(situation: Situation) -> np.ndarray:
    """How much nearer to a threat each action does *not* lead, `[B, A]` in cells."""
    context = situation.context
    return context["next_threat_distance"] - context["threat_distance"][:, None]


def more_from_losses(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e` where an outcome is worse than expected, else `1 + e / 2`."""
    return 1.0 + level * np.where(error < 0.0, 1.0, 0.5)


def _feared() -> list[Channel]:
    influences = (Bonus(away_from_threat, relative=True), LearningGain(more_from_losses))
    return [Channel(ProximityFear(), influences)]


def _integrated() -> list[Channel]:
    return [*_feared(), *angry_and_regretful()]


CLASSIC_AGENTS: dict[str, ClassicAgent] = {
    "q": ClassicAgent(channels=list),
    "anger-q": ClassicAgent(channels=angry, scripted=pushes_until_open),
    "feared-q": ClassicAgent(channels=_feared, scripted=keeps_away),
    "hybrid-q": ClassicAgent(channels=lambda: [*_feared(), *shaped()], scripted=keeps_away),
    "integrated-q": ClassicAgent(channels=_integrated, scripted=keeps_away_and_pushes),
    "persistent-q": ClassicAgent(channels=persistent, scripted=pushes_until_open),
    "potential-q": ClassicAgent(channels=potential, scripted=keeps_away),
    "shaped-q": ClassicAgent(channels=shaped, scripted=keeps_away),
}
"""Every tabular agent by its name."""
