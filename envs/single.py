"""A single environment from a vector environment with one row."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.envs._values import row_info


class SingleEnv(gym.Env):
    """The one row of a vector environment, as a `gymnasium.Env`.

    Args:
        vector_env: An environment with `num_envs == 1` whose autoreset is disabled.
    """

    def __init__(self, vector_env: VectorEnv) -> None:
        if vector_env.num_envs != 1:
            raise ValueError(f"a single environment has one row, got {vector_env.num_envs}")
        if vector_env.metadata["autoreset_mode"] != AutoresetMode.DISABLED:
            raise ValueError("the vector environment must leave resets to its caller")
        self.vector_env = vector_env
        self.metadata = vector_env.metadata
        self.render_mode = vector_env.render_mode
        self.observation_space = vector_env.single_observation_space
        self.action_space = vector_env.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins a new episode; see the vector environment."""
        super().reset(seed=seed)
        observations, infos = self.vector_env.reset(seed=seed, options=options)
        return first_row(observations), row_info(infos, 0)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; see the vector environment."""
        observations, rewards, terminated, truncated, infos = self.vector_env.step([action])
        return (
            first_row(observations),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            row_info(infos, 0),
        )

    def action_masks(self) -> np.ndarray:
        """Which actions are allowed, `[A]` bool, if the vector environment tells."""
        masks: np.ndarray = self.vector_env.action_masks()[0]  # type: ignore[attr-defined]
        return masks

    def render(self) -> Any:
        """The first row's picture."""
        rendered = self.vector_env.render()
        return rendered[0] if rendered else None

    def close(self) -> None:
        """Closes the vector environment."""
        self.vector_env.close()


def first_row(observations: Any) -> Any:
    """Row 0 of batched observations, arrays or dicts of them."""
    if isinstance(observations, dict):
        return {key: value[0] for key, value in observations.items()}
    return observations[0]
