"""Tabular agents by name: short lists of channels, with the rule that has the same information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from erm_gym.agents.emotional_ed import pitch_black_agents as pitch_black
from erm_gym.agents.emotional_ed.anger_agents import angry, persistent, pushes_until_open
from erm_gym.agents.emotional_ed.anxiety_agents import anxious, flight
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.conflict_agents import minds_its_temper, torn
from erm_gym.agents.emotional_ed.fear_agents import feared, never_into_reach
from erm_gym.agents.emotional_ed.integrated_agents import integrated, keeps_away_and_pushes
from erm_gym.agents.emotional_ed.mood_agents import goes_by_the_last_event, moody
from erm_gym.agents.emotional_ed.patience_agents import goes_on_while_in_reach, patient
from erm_gym.agents.emotional_ed.q_learner import QConfig, QLearner
from erm_gym.agents.emotional_ed.quantile_table import QuantileTableLearner
from erm_gym.agents.emotional_ed.risk_agents import never_onto_threat, risk_averse
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
    env: str | None = None
    """The fair environment it was made for; None for an agent of no experiment."""
    config: QConfig = field(default_factory=QConfig)
    """Hyperparameters, where nothing was tuned."""
    learner: type[QLearner] = QLearner
    """What learns."""


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


CLASSIC_AGENTS: dict[str, ClassicAgent] = {
    "q": ClassicAgent(channels=list),
    "feared-q": ClassicAgent(channels=feared, scripted=never_into_reach, env="ErmGym/FearGrid-v1"),
    "anger-q": ClassicAgent(channels=angry, scripted=pushes_until_open, env="ErmGym/AngerGrid-v1"),
    "conflict-q": ClassicAgent(channels=torn, scripted=minds_its_temper, env="ErmGym/Conflict-v1"),
    "integrated-q": ClassicAgent(
        channels=integrated, scripted=keeps_away_and_pushes, env="ErmGym/Integration-v1"
    ),
    "mood-q": ClassicAgent(
        channels=moody, scripted=goes_by_the_last_event, env="ErmGym/Temporal-v1"
    ),
    "curiosity-q": ClassicAgent(
        channels=pitch_black.curious, scripted=pitch_black.scripted, env="ErmGym/PitchBlack-v1"
    ),
    "persistent-q": ClassicAgent(
        channels=persistent, scripted=pushes_until_open, env="ErmGym/Bottleneck-v1"
    ),
    "anxiety-q": ClassicAgent(channels=anxious, scripted=flight, env="ErmGym/PredatorPrey-v1"),
    "patience-q": ClassicAgent(
        channels=patient, scripted=goes_on_while_in_reach, env="ErmGym/BatteryRun-v1"
    ),
    "cvar-feared-q": ClassicAgent(
        channels=risk_averse,
        scripted=never_onto_threat,
        env="ErmGym/Gamble-v1",
        learner=QuantileTableLearner,
    ),
}
"""Every tabular agent by its name, in the order of the experiments."""
