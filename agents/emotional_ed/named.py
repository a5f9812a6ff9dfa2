"""Emotional agents by name, tabular and deep."""

from __future__ import annotations

from collections.abc import Mapping

from erm_gym.agents.emotional_ed.deep_agents import DEEP_AGENTS, DeepAgent
from erm_gym.agents.emotional_ed.registry import CLASSIC_AGENTS, ClassicAgent
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.llm.suggestion import suggest

EmotionalAgent = ClassicAgent | DeepAgent
AGENTS: Mapping[str, EmotionalAgent] = {**CLASSIC_AGENTS, **DEEP_AGENTS}
"""Every agent by its name."""


def named_agent(name: str) -> EmotionalAgent:
    """What stands behind a name.

    Raises:
        AgentError: If the name is unknown; it suggests the nearest.
    """
    if name not in AGENTS:
        raise AgentError(f"unknown agent {name!r}; {suggest(name, list(AGENTS))}")
    return AGENTS[name]


def home_of(name: str) -> str:
    """The fair environment that an agent was made for.

    Raises:
        AgentError: If the name is unknown, or the agent was made for none.
    """
    env = named_agent(name).env
    if env is None:
        raise AgentError(f"the agent {name!r} has no environment of its own; name one")
    return env
