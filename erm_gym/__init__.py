"""Gymnasium environments in which a frozen language model writes and agents with emotions learn.

Importing this package registers the environments, `ErmGym/Name-v0`, and loads neither torch nor
transformers: each environment is imported when it is made.
"""

from erm_gym.envs.registration import register_environments

__version__ = "0.1.0"

__all__ = ["__version__"]

register_environments()
