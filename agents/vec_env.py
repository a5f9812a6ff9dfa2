"""A Gymnasium vector environment as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

OF_THE_END = ("final_obs", "_final_obs", "final_info", "_final_info")
"""What Gymnasium tells of episodes that ended, among what it tells of those that go on or begin."""


class GymnasiumVecEnv(VecEnv):
    """Steps a native vector environment with Stable-Baselines3's semantics.

    A row that ends is reset in the same step; its last observation is `terminal_observation` in
    its info, `TimeLimit.truncated` tells why it ended, `episode` holds return, length and seconds
    as `Monitor` has them, and what the reset tells goes to `reset_infos`. Rows that go on have
    `TimeLimit.truncated` False, and what the environment tells of them. All arrays in an info are
    those of the environment: nothing is copied.

    An algorithm that handles time limits bootstraps where a reply reaches the token limit. Where
    that is the end of the matter, as for a user who judges what is there, give an off-policy one
    `replay_buffer_kwargs={"handle_timeout_termination": False}`.

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
        self._made = time.time()
        super().__init__(
            vector_env.num_envs,
            vector_env.single_observation_space,
            vector_env.single_action_space,
        )

    def reset(self) -> Any:
        """Resets all rows, with what was given to `seed` and `set_options` since the last reset.

        Raises:
            ValueError: If rows were given different options.
        """
        seeds: Any = None if all(seed is None for seed in self._seeds) else self._seeds
        options = self._options[0]
        if any(other is not options and other != options for other in self._options):
            raise ValueError(
                "rows of a native vector environment are reset together: give set_options one "
                "dictionary for all of them"
            )
        observations, infos = self.vector_env.reset(seed=seeds, options=options or None)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [_info_of_row(infos, row) for row in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Steps all rows at once; what is done row by row is done for rows with something to tell.

        Returns:
            Observations, rewards `[B]` float32, whether episodes ended `[B]` bool, and B infos.
        """
        observations, rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        told = {key: value for key, value in infos.items() if key not in OF_THE_END}
        row_infos: list[dict[str, Any]] = [
            {"TimeLimit.truncated": False} for _ in range(self.num_envs)
        ]
        for row in _rows_told_of(told, self.num_envs, besides=dones):
            row_infos[row] = {**_info_of_row(told, row), "TimeLimit.truncated": False}
        for row in np.flatnonzero(dones).tolist():
            row_infos[row] = {
                **_info_of_row(infos.get("final_info", {}), row),
                "terminal_observation": infos["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "episode": {
                    "r": float(self._returns[row]),
                    "l": int(self._lengths[row]),
                    "t": round(time.time() - self._made, 6),
                },
            }
            self.reset_infos[row] = _info_of_row(told, row)
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
            ValueError: If `indices` leaves rows out.
        """
        if len(set(self._get_indices(indices))) < self.num_envs:
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
            such as `action_masks`, or the pictures of `render`), the entries of the rows asked for;
            else its answer for each.
        """
        result = self._find(method_name)(*method_args, **method_kwargs)
        rows = list(self._get_indices(indices))
        by_row = isinstance(result, np.ndarray) and result.shape[:1] == (self.num_envs,)
        if by_row or (method_name == "render" and result is not None):
            return [result[row] for row in rows]
        return [result for _ in rows]

    def _find(self, name: str) -> Any:
        """An attribute of the outermost layer that has it."""
        layer = self.vector_env
        while not hasattr(layer, name) and isinstance(layer, VectorWrapper):
            layer = layer.env
        return getattr(layer, name)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Whether rows have what a wrapper of single environments gives: only `Monitor`'s."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every row, if the environment renders to `rgb_array`."""
        if self.vector_env.render_mode != "rgb_array":
            return [None] * self.num_envs
        pictures: Any = self.vector_env.render()
        return list(pictures)


def _rows_told_of(infos: dict[str, Any], num_envs: int, *, besides: np.ndarray) -> list[int]:
    """Rows that Gymnasium's vector infos tell something of, but for some `[B]` bool."""
    everyone = np.ones(num_envs, bool)
    masks = [infos.get(f"_{key}", everyone) for key in infos if not key.startswith("_")]
    rows: list[int] = np.flatnonzero(np.any(masks, axis=0) & ~besides).tolist() if masks else []
    return rows


def _info_of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One row of Gymnasium's vector infos, the keys that it has; those without a mask all have."""
    return {
        key: _info_of_row(value, row) if isinstance(value, dict) else value[row]
        for key, value in infos.items()
        if not key.startswith("_") and (f"_{key}" not in infos or infos[f"_{key}"][row])
    }
