"""Single text environments: the vector ones with one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from erm_gym.envs.single import SingleEnv
from erm_gym.envs.text.base import TextVectorEnv


def make_single(kind: type[TextVectorEnv[Any]], options: Mapping[str, Any]) -> SingleEnv:
    """A single environment whose resets are left to its caller, as `gym.make` wants it.

    Args:
        kind: Class of the vector environment.
        options: Fields of its options.

    Raises:
        OptionError: If an option is unknown, out of range, or does not fit the LM.
        CriticError: If the critic does not fit the LM.
    """
    mode = AutoresetMode.DISABLED
    return SingleEnv(kind.from_keywords(1, {**options, "autoreset_mode": mode}))
