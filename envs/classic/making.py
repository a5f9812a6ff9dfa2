"""Makes classic environments for Gymnasium: a vector one, or the single one of one row."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gymnasium.vector import AutoresetMode

from erm_gym.envs.classic.base import ClassicVectorEnv
from erm_gym.envs.single import SingleEnv


def classic_vec(num_envs: int = 1, *, kind: str, **options: Any) -> ClassicVectorEnv:
    """A vector environment.

    Args:
        num_envs: Rows B, >= 1.
        kind: `module:Class` below `erm_gym.envs.classic`.
        **options: Of the class.

    Raises:
        TypeError: If there is no such option.
        ValueError: If an option is out of range.
    """
    module, _, name = kind.partition(":")
    found = getattr(import_module(f"erm_gym.envs.classic.{module}"), name)
    env: ClassicVectorEnv = found(num_envs, **options)
    return env


def classic_env(*, kind: str, **options: Any) -> SingleEnv:
    """A single environment; arguments as for `classic_vec`."""
    return SingleEnv(classic_vec(1, kind=kind, **options, autoreset_mode=AutoresetMode.DISABLED))
