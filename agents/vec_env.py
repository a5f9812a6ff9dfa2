"""A Gymnasium vector environment as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices


class GymnasiumVecEnv(VecEnv):
    """Steps a native vector environment with Stable-Baselines3's semantics.

    A row that ends is reset in the same step; its last observation is `terminal_observation` in
    its info, `TimeLimit.truncated` tells why it ended, and `episode` holds return and length.
    Rows that go on get an empty info.

    Attributes:
        vector_env: The environment behind it.
    """

    def __init__(self, vector_env: VectorEnv) -> None:
        """Wraps an environment.

        Args:
            vector_env: An environment that resets in the same step.

        Raises:
            ValueError: If it resets in another way.
        """
        mode = vector_env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                "Stable-Baselines3 needs environments that reset in the same step, but this one "
                f"has {mode}; make it with autoreset_mode='SameStep'"
            )
        self.vector_env = vector_env
        self._actions = np.zeros(vector_env.num_envs, np.int64)
        self._returns = np.zeros(vector_env.num_envs)
        self._lengths = np.zeros(vector_env.num_envs, np.int64)
        super().__init__(
            vector_env.num_envs,
            vector_env.single_observation_space,
            vector_env.single_action_space,
        )

    def reset(self) -> Any:
        """Resets all rows, with the seeds given to `seed` if there are any."""
        seeds: Any = None if all(seed is None for seed in self._seeds) else self._seeds
        observations, infos = self.vector_env.reset(seed=seeds)
        self._reset_seeds()
        self.reset_infos = [_info_of_row(infos, row) for row in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Steps all rows at once."""
        observations, rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        row_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(dones).tolist():
            row_infos[row] = {
                **_info_of_row(infos["final_info"], row),
                "terminal_observation": infos["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "episode": {"r": float(self._returns[row]), "l": int(self._lengths[row])},
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return observations, rewards.astype(np.float32), dones, row_infos

    def close(self) -> None:
        """Closes the environment."""
        self.vector_env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the environment, once per row: all rows share one object."""
        value = self._find(attr_name)
        return [value for _ in self._get_indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Whether the environment has an attribute."""
        try:
            self._find(attr_name)
        except AttributeError:
            return False
        return True

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Rows share one object, so an attribute can be set for all of them only.

        Raises:
            ValueError: If `indices` names some rows.
        """
        if indices is not None:
            raise ValueError("rows of a native vector environment share their attributes")
        setattr(self.vector_env, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of the environment once.

        Returns:
            Where the method answers with one entry per row (an array whose first axis is the row,
            such as `action_masks`), the entries of the rows asked for; else its answer for each.
        """
        result = self._find(method_name)(*method_args, **method_kwargs)
        rows = list(self._get_indices(indices))
        if isinstance(result, np.ndarray) and result.shape[:1] == (self.num_envs,):
            return [result[row] for row in rows]
        return [result for _ in rows]

    def _find(self, name: str) -> Any:
        """An attribute of the outermost layer that has it."""
        layer = self.vector_env
        while not hasattr(layer, name) and isinstance(layer, VectorWrapper):
            layer = layer.env
        return getattr(layer, name)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Rows are no environments of their own, so none is wrapped by itself."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every row, if the environment renders to `rgb_array`."""
        if self.vector_env.render_mode != "rgb_array":
            return [None] * self.num_envs
        pictures: Any = self.vector_env.render()
        return list(pictures)


def _info_of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One row of Gymnasium's vector infos, the keys that it has."""
    return {
        key: _info_of_row(value, row) if isinstance(value, dict) else value[row]
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][row]
    }
