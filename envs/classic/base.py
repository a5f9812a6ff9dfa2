"""What the classic environments share: rows in NumPy, seeds, resets, context and measures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.streams import RowStreams

Infos = dict[str, Any]
RENDER_MODES = ("ansi", "rgb_array")


class VectorOptions(TypedDict, total=False):
    """What every classic environment takes."""

    autoreset_mode: AutoresetMode | str
    """Who begins the next episode, and when; `same-step` by default."""
    render_mode: str | None
    """`ansi`, `rgb_array` or None."""


class ClassicVectorEnv(VectorEnv):
    """B rows of one small Markov decision process, stepped together in NumPy.

    Rows are independent: an episode follows from its row's seed and actions, whatever B is.

    Infos. `context` is what an emotion may look at (a threat's distance, whether the way was
    blocked), `measures` what an experiment reports (harm, wall hits), summed up since the episode
    began; each is a dict of arrays `[B]`, or `[B, A]` where there is one value per action. Both
    belong to the state after the step.

    A subclass allocates its arrays with `per_row`, changes them in place, and fills in `_begin`,
    `_advance`, `_observe`, `_context` and, for pictures, `_ansi` and `_rgb_array`.

    Args:
        num_envs: Rows B, >= 1.
        observation_space: Of one row: `Discrete` or `MultiDiscrete`.
        num_actions: Actions A, >= 2.
        time_limit: Steps after which an episode is truncated, >= 1.
        measures: Names of what is measured.
        autoreset_mode: Who begins the next episode, and when.
        render_mode: `ansi`, `rgb_array` or None.

    Raises:
        ValueError: If an argument is out of range.
    """

    metadata: dict[str, Any] = {
        "render_modes": list(RENDER_MODES),
        "render_fps": 5,
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "autoreset_modes": list(AutoresetMode),
    }

    def __init__(
        self,
        num_envs: int,
        *,
        observation_space: spaces.Discrete | spaces.MultiDiscrete,
        num_actions: int,
        time_limit: int,
        measures: Sequence[str] = (),
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        for name, value, least in (("num_envs", num_envs, 1), ("time_limit", time_limit, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be one of {RENDER_MODES}, got {render_mode!r}")
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode(autoreset_mode)}
        self.observe_as(observation_space)
        self.single_action_space: gym.Space[Any] = spaces.Discrete(num_actions)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.time_limit = time_limit
        self._arrays: list[np.ndarray] = []
        self._every = np.ones(num_envs, bool)
        self._every.flags.writeable = False  # shared by all infos
        self._drawing = self._every
        self._streams: RowStreams | None = None
        self._done = np.ones(num_envs, bool)
        self.elapsed = self.per_row(int)
        self.measures = {name: self.per_row(float) for name in measures}

    # For subclasses

    def observe_as(self, space: spaces.Discrete | spaces.MultiDiscrete) -> None:
        """Sets the observation space of one row."""
        self.single_observation_space: gym.Space[Any] = space
        self.observation_space = batch_space(space, self.num_envs)

    def per_row(self, dtype: type, shape: tuple[int, ...] = (), fill: float = 0) -> np.ndarray:
        """An array that belongs to the state; it must be changed in place.

        Args:
            dtype: Of its entries.
            shape: Of one row's part.
            fill: First value of all entries.

        Returns:
            `[B, *shape]`.
        """
        array: np.ndarray = np.full((self.num_envs, *shape), fill, dtype)
        self._arrays.append(array)
        return array

    def uniform(self, count: int = 1) -> np.ndarray:
        """Random numbers `[B, count]` in [0, 1) for the rows that begin or move at the moment."""
        assert self._streams is not None
        return self._streams.uniform(count, None if self._drawing.all() else self._drawing)

    @abstractmethod
    def _begin(self, rows: np.ndarray) -> None:
        """Begins an episode where `rows` `[B]` bool is set, and changes no other row."""

    @abstractmethod
    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Moves all rows; those that must not move are put back afterwards.

        Args:
            actions: `[B]` int in [0, A).

        Returns:
            Rewards `[B]` float, and which episodes terminated `[B]` bool.
        """

    @abstractmethod
    def _observe(self) -> np.ndarray:
        """The observations `[B]` or `[B, n]` int64."""

    @abstractmethod
    def _context(self) -> dict[str, np.ndarray]:
        """What an emotion may look at: fresh arrays `[B]` or `[B, A]` by name."""

    def _forget(self, rows: np.ndarray) -> None:
        """Forgets what outlives episodes, where `rows` `[B]` bool are given a seed.

        It is called before `_begin`. By default nothing outlives them.
        """

    def _ansi(self, row: int) -> str:
        raise NotImplementedError

    def _rgb_array(self, row: int) -> np.ndarray:
        raise NotImplementedError

    # For users

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, Infos]:
        """Begins new episodes.

        Args:
            seed: Of row 0, the next for the next row and so on; or one for each row, None to go on
                with its random numbers.
            options: `reset_mask`, `[B]` bool: the rows that begin; by default all.

        Returns:
            Observations `[B]` or `[B, n]` int64, and the infos.

        Raises:
            ValueError: If an option is unknown, or a shape is wrong.
            RuntimeError: After `close`.
        """
        self._require_open()
        rows = self._reset_mask(options)
        seeds = self._row_seeds(seed)
        if self._streams is None:
            entropy = np.random.SeedSequence().generate_state(self.num_envs)
            pairs = zip(seeds, entropy, strict=True)
            seeds = [int(fresh) if one is None else one for one, fresh in pairs]
            self._streams = RowStreams([one or 0 for one in seeds])
        for row, one in enumerate(seeds):
            if one is not None and rows[row]:
                self._streams.seed(row, one)
        self._forget(rows & np.array([one is not None for one in seeds]))
        self._start(rows)
        return self._observations(), self._infos(rows)

    def step(
        self, actions: np.ndarray | Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Takes one step in every row.

        Args:
            actions: `[B]` int in [0, A).

        Returns:
            Observations, rewards `[B]` float64, terminated and truncated `[B]` bool, infos.

        Raises:
            ValueError: If an action is out of range or no integer, or the shape is wrong.
            RuntimeError: Before the first reset or after `close`; or, where autoreset is disabled,
                if a row that ended was not reset.
        """
        self._require_open()
        chosen = self._checked(actions)
        mode = self.metadata["autoreset_mode"]
        if self._streams is None:
            raise RuntimeError("call reset() before the first step()")
        if mode == AutoresetMode.DISABLED and self._done.any():
            raise RuntimeError(
                f"the episodes of the rows {np.flatnonzero(self._done).tolist()} ended; begin new "
                "ones with reset(options={'reset_mask': ...})"
            )
        waiting = (
            self._done.copy() if mode == AutoresetMode.NEXT_STEP else np.zeros_like(self._done)
        )
        moving = ~waiting
        rewards, terminated = self._move(chosen, moving)
        truncated = moving & ~terminated & (self.elapsed >= self.time_limit)
        done = terminated | truncated
        final: Infos = {}
        if mode == AutoresetMode.SAME_STEP and done.any():
            final = self._final(done)
        beginning = done if mode == AutoresetMode.SAME_STEP else waiting
        self._done = done.copy()
        if beginning.any():
            self._start(beginning)
        if mode == AutoresetMode.SAME_STEP:
            self._done[:] = False
        return self._observations(), rewards, terminated, truncated, {**self._infos(), **final}

    def render(self) -> tuple[Any, ...] | None:
        """One picture per row: a text or an array `[H, W, 3]` uint8."""
        if self.render_mode is None:
            return None
        draw = self._ansi if self.render_mode == "ansi" else self._rgb_array
        return tuple(draw(row) for row in range(self.num_envs))

    # Inside

    def _start(self, rows: np.ndarray) -> None:
        self._drawing = rows
        self.elapsed[rows] = 0
        for values in self.measures.values():
            values[rows] = 0.0
        self._begin(rows)
        self._done[rows] = False

    def _move(self, actions: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        resting = ~moving
        kept = [array[resting] for array in self._arrays] if resting.any() else []
        self._drawing = moving
        self.elapsed += 1
        rewards, terminated = self._advance(actions)
        if kept:
            for array, rows in zip(self._arrays, kept, strict=True):
                array[resting] = rows
        return np.where(moving, rewards, 0.0), terminated & moving

    def _observations(self) -> np.ndarray:
        return np.array(self._observe(), np.int64)

    def _infos(self, rows: np.ndarray | None = None) -> Infos:
        mask = self._every if rows is None or rows.all() else _read_only(rows)
        parts = {
            "context": self._context(),
            "measures": {name: values.copy() for name, values in self.measures.items()},
        }
        infos: Infos = {}
        for name, values in parts.items():
            if values:
                masks = {f"_{key}": mask for key in values}
                infos |= {name: {**values, **masks}, f"_{name}": mask}
        return infos

    def _final(self, done: np.ndarray) -> Infos:
        observations = self._observations()
        final = np.full(self.num_envs, None, object)
        for row in np.flatnonzero(done):
            final[row] = observations[row]
        return {
            "final_obs": final,
            "_final_obs": done.copy(),
            "final_info": self._infos(done),
            "_final_info": done.copy(),
        }

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("this environment was closed; make a new one")

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        options = options or {}
        unknown = set(options) - {"reset_mask"}
        if unknown:
            raise ValueError(f"reset() has the option 'reset_mask' only, got {sorted(unknown)}")
        mask = options.get("reset_mask")
        if mask is None:
            return self._every.copy()
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,):
            raise ValueError(
                f"reset_mask must be bool of shape ({self.num_envs},), got {mask.dtype} "
                f"{mask.shape}"
            )
        if not mask.any():
            raise ValueError("reset_mask must begin one row at least")
        if self._streams is None and not mask.all():
            raise ValueError("the first reset must begin all rows")
        return mask.copy()

    def _row_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must be one per row, {self.num_envs}, got {len(seed)}")
        return [None if one is None else int(one) for one in seed]

    def _checked(self, actions: np.ndarray | Sequence[int]) -> np.ndarray:
        chosen = np.asarray(actions)
        assert isinstance(self.single_action_space, spaces.Discrete)
        count = int(self.single_action_space.n)
        if chosen.shape != (self.num_envs,) or not np.issubdtype(chosen.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), got {chosen.dtype} "
                f"{chosen.shape}"
            )
        if chosen.min() < 0 or chosen.max() >= count:
            wrong = int(np.flatnonzero((chosen < 0) | (chosen >= count))[0])
            raise ValueError(f"actions must be in [0, {count}), got {chosen[wrong]} in row {wrong}")
        return chosen.astype(np.int64)


def _read_only(rows: np.ndarray) -> np.ndarray:
    """A copy that all infos of a step can share."""
    copied = rows.copy()
    copied.flags.writeable = False
    return copied
