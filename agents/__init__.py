"""Everything that acts: Stable-Baselines3 agents on top of the frozen LM, emotional or not."""

from erm_gym.agents.factory import (
    Agent,
    agent_names,
    load_agent,
    make_agent,
)
from erm_gym.agents.hyperparameters import AgentError, DQNConfig, PPOConfig
from erm_gym.agents.vec_env import GymnasiumVecEnv

__all__ = [
    "Agent",
    "AgentError",
    "DQNConfig",
    "GymnasiumVecEnv",
    "PPOConfig",
    "agent_names",
    "load_agent",
    "make_agent",
]
