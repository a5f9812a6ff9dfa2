"""What emotions look at, as part of the observation: the same information for every agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from erm_gym.envs.classic.base import ClassicVectorEnv
from erm_gym.envs.single import SingleEnv

OBSERVATION = "observation"
"""Key of the environment's own observation."""


class VectorContextObservation(VectorWrapper):
    """Adds `infos["context"]` to the observations of a classic vector environment.

    An observation is a dict: `observation`, and every part of the context by its name, `[B]` or
    `[B, A]` float64 in a `Box` without bounds. Stable-Baselines3's `MultiInputPolicy` takes it as
    it is.

    Args:
        env: A classic vector environment.

    Raises:
        ValueError: If it is no classic environment, or its context is empty.
    """

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self._single_observation_space = context_space(env)
        self._observation_space = batch_space(self._single_observation_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begins episodes; see the environment."""
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return joined(observations, infos), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes a step; see the environment. `final_obs` has the context, too."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            final = np.full(self.num_envs, None, object)
            context = infos["final_info"].get("context", {})
            for row in np.flatnonzero(infos["_final_obs"]):
                parts = {name: values[row] for name, values in context.items()}
                final[row] = joined(infos["final_obs"][row], {"context": parts})
            infos = {**infos, "final_obs": final}
        return joined(observations, infos), rewards, terminated, truncated, infos


class ContextObservation(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Adds `info["context"]` to the observations of a classic environment.

    Spaces as for `VectorContextObservation`, of one row.

    Args:
        env: A classic environment, as `gym.make` gives it.

    Raises:
        ValueError: If it is no classic environment, or its context is empty.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, SingleEnv):
            raise ValueError(f"{env} is no classic environment: it has no context to observe")
        self.observation_space = context_space(base.vector_env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins an episode; see the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return joined(observation, info), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Takes a step; see the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return joined(observation, info), reward, terminated, truncated, info


def context_space(env: VectorEnv) -> spaces.Dict:
    """The space of one row's observation and context.

    Args:
        env: A classic vector environment; it is not changed.

    Raises:
        ValueError: If it is no classic environment, or its context is empty.
    """
    base = env.unwrapped
    if not isinstance(base, ClassicVectorEnv):
        raise ValueError(f"{env} is no classic environment: it has no context to observe")
    _, infos = deepcopy(base).reset(seed=0)
    context = infos.get("context", {})
    if not context:
        raise ValueError(f"{env} has no context; use its observations as they are")
    parts: dict[str, gym.Space[Any]] = {OBSERVATION: base.single_observation_space}
    for name, values in context.items():
        if not name.startswith("_"):
            parts[name] = spaces.Box(-np.inf, np.inf, values.shape[1:], np.float64)
    return spaces.Dict(parts)


def joined(observation: Any, info: Mapping[str, Any]) -> dict[str, Any]:
    """An observation and its context in one dict, of one row or of all."""
    context = info["context"]
    parts = {
        name: np.asarray(values, np.float64)
        for name, values in context.items()
        if not name.startswith("_")
    }
    return {OBSERVATION: observation, **parts}
