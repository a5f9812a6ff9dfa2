"""The grid worlds and bandits of the Emotional-ED experiments, faithful (v0) and fair (v1)."""

from erm_gym.envs.classic.base import ClassicVectorEnv
from erm_gym.envs.classic.grid import GridVectorEnv

__all__ = ["ClassicVectorEnv", "GridVectorEnv"]
