"""From keywords to an environment: what `gym.make` and `gym.make_vec` call for every text id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.single import SingleEnv
from erm_gym.envs.text.base import TextVectorEnv
from erm_gym.envs.text.critic_observation import CriticObservation, load_critic
from erm_gym.envs.text.options import TextEnvOptions


def make_vector(kind: type[TextVectorEnv], num_envs: int, options: Mapping[str, Any]) -> VectorEnv:
    """A vector environment that its critic watches, unless `critic` is None.

    Args:
        kind: Class of the environment.
        num_envs: Number of rows, >= 1.
        options: Fields of `TextEnvOptions`.

    Raises:
        OptionError: If an option is unknown, out of range, or does not fit the LM.
        CriticError: If the critic does not fit the LM.
    """
    parsed = TextEnvOptions.from_keywords(**options)
    env = kind(num_envs, parsed)
    critic = parsed.critic
    if critic is None:
        return env
    if not isinstance(critic, EmotionalCritic):
        critic = load_critic(critic, env.llm)
    return CriticObservation(env, critic)


def make_single(kind: type[TextVectorEnv], options: Mapping[str, Any]) -> SingleEnv:
    """A single environment: the vector one with one row; see `make_vector`."""
    return SingleEnv(make_vector(kind, 1, {**options, "autoreset_mode": AutoresetMode.DISABLED}))
