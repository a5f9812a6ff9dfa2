"""Tabular agents by name: short lists of channels, with the rule that has the same information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from erm_gym.agents.emotional_ed import pitch_black_agents as pitch_black
from erm_gym.agents.emotional_ed.anxiety import Anxiety, flee
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain, Override
from erm_gym.agents.emotional_ed.moments import Situation, Transition
from erm_gym.agents.emotional_ed.q_learner import QConfig
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.llm.suggestion import suggest

HARM_RADIUS = 1.5
"""Distance in cells within which a threat does harm."""

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
    env: str | None = None
    """The fair environment it was made for; None for an agent of no experiment."""
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


def home_of(name: str) -> str:
    """The fair environment that an agent was made for.

    Raises:
        AgentError: If the name is unknown, or the agent was made for none.
    """
    env = classic_agent(name).env
    if env is None:
        raise AgentError(f"the agent {name!r} has no environment of its own; name one")
    return env


def away_from_threat(situation: Situation) -> np.ndarray:
    """How much nearer to a threat each action does *not* lead, `[B, A]` in cells."""
    context = situation.context
    return context["next_threat_distance"] - context["threat_distance"][:, None]


def more_from_losses(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e` where an outcome is worse than expected, else `1 + e / 2`."""
    return 1.0 + level * np.where(error < 0.0, 1.0, 0.5)


def into_reach(situation: Situation) -> np.ndarray:
    """1 for the actions `[B, A]` that lead to a cell where a threat can do harm, else 0."""
    reached: np.ndarray = (situation.context["next_threat_distance"] < HARM_RADIUS).astype(float)
    return reached


def _never_into_reach() -> list[Channel]:
    return [Channel(Constant(), [Bonus(into_reach, size=-100.0)])]


def _feared() -> list[Channel]:
    influences = (Bonus(away_from_threat, relative=True), LearningGain(more_from_losses))
    return [Channel(ProximityFear(), influences)]


def _anxious() -> list[Channel]:
    return [Channel(Anxiety(), (Bonus(away_from_threat, relative=True),))]


def _flight() -> list[Channel]:
    near = Override(flee, lambda level: (level > 0.0).astype(float))
    return [Channel(ProximityFear(reach=4.0), (near,))]  # from 3 cells away


CLASSIC_AGENTS: dict[str, ClassicAgent] = {
    "q": ClassicAgent(channels=list),
    "feared-q": ClassicAgent(
        channels=_feared, scripted=_never_into_reach, env="ErmGym/FearGrid-v1"
    ),
    "anxiety-q": ClassicAgent(channels=_anxious, scripted=_flight, env="ErmGym/PredatorPrey-v1"),
    "curiosity-q": ClassicAgent(
        channels=pitch_black.curious, scripted=pitch_black.scripted, env="ErmGym/PitchBlack-v1"
    ),
}
"""Every tabular agent by its name."""
