"""Plays a vector environment, checks whatever it returns, and writes down what each row lived."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from erm_gym.envs._values import difference, outside, row_info, scribble_over

Make = Callable[[int, AutoresetMode], VectorEnv]
"""Makes an environment with a number of rows and an autoreset mode."""

FINAL_KEYS = ("final_obs", "final_info")


class VectorEnvError(AssertionError):
    """A vector environment breaks a rule; the message names the rule and the place."""


Event = dict[str, Any]
"""The begin of an episode (`observation`, `info`) or a step (and `reward`, `terminated`, ...)."""


@dataclass
class Rollout:
    """A rollout in progress: the events of every row, and where they are."""

    events: list[list[Event]]
    taken: list[int]  # own actions of each row since its last seeding


class Player:
    """Plays rollouts of one environment in one autoreset mode.

    The events of a row are the same in every mode and in every batch, if the environment keeps the
    contract: an observation and info where an episode begins, then one event per own step.
    """

    def __init__(
        self, make: Make, mode: AutoresetMode, num_envs: int, steps: int, seed: int
    ) -> None:
        self.make = make
        self.mode = mode
        self.num_envs = num_envs
        self.steps = steps
        self.seed = seed
        self.space: gym.Space[Any] | None = None  # a copy to draw actions from

    def fail(self, message: str) -> VectorEnvError:
        return VectorEnvError(f"[autoreset {self.mode.value}] {message}")

    def require(self, condition: bool | np.bool_, message: str) -> None:
        if not condition:
            raise self.fail(message)

    def row_seeds(self) -> list[int]:
        return [self.seed + row for row in range(self.num_envs)]

    def actions(
        self, env: VectorEnv, observations: Any, action_seeds: Sequence[int], steps: Sequence[int]
    ) -> Any:
        """Random actions that the rows' action masks allow.

        That of a row follows from its seed, the number of its step and its mask alone.
        """
        if self.space is None:
            self.space = copy.deepcopy(env.single_action_space)
        space = self.space
        actions = []
        every = iterate(env.observation_space, observations)
        for row, (action_seed, step) in enumerate(zip(action_seeds, steps, strict=True)):
            mask = self.action_mask(space, next(every), row)
            space.seed(1_000_003 * action_seed + step)
            actions.append(space.sample() if mask is None else space.sample(mask))
        empty: Any = create_empty_array(space, len(actions))
        return concatenate(space, actions, empty)

    def action_mask(self, space: gym.Space[Any], observation: Any, row: int) -> np.ndarray | None:
        """`observation["action_mask"]` of one row, if actions are discrete and there is one."""
        if not isinstance(space, spaces.Discrete) or not isinstance(observation, dict):
            return None
        mask = observation.get("action_mask")
        if mask is None:
            return None
        mask = np.asarray(mask).astype(np.int8)
        self.require(
            mask.shape == (space.n,) and bool(mask.any()),
            f"observations['action_mask'] of row {row} must allow one of {space.n} actions at "
            f"least, got {mask}",
        )
        return mask

    def play(
        self,
        *,
        num_envs: int | None = None,
        seeds: int | list[int] | None = None,
        action_seeds: list[int] | None = None,
        ignored_seed: int | None = None,
        scribble: bool = False,
        used: bool = False,
        reset_row_0_at: int | None = None,
    ) -> list[list[Event]]:
        """Plays a rollout, checks all that it returns, and gives back the events of every row."""
        rows = num_envs or self.num_envs
        seeds = self.seed if seeds is None else seeds
        if action_seeds is None:
            start = seeds if rows == 1 and isinstance(seeds, int) else self.seed
            action_seeds = [start + row for row in range(rows)]
        env = self.make(rows, self.mode)
        ignored = self.seed + 31 if ignored_seed is None else ignored_seed
        if used:
            before, _ = self.call(env.reset, seed=self.seed + 7919)
            self.call(env.step, self.actions(env, before, action_seeds, [self.steps] * rows))
        raw = self.call(env.reset, seed=seeds)
        returned = copy.deepcopy(raw)
        self.check_observations(env, returned[0], "reset()")
        self.check_infos(returned[1], np.ones(rows, bool), "reset()")
        rollout = Rollout([[] for _ in range(rows)], [0] * rows)
        self.begin(env, rollout, range(rows), *returned)
        done, ever_done, seen = np.zeros(rows, bool), False, returned[0]
        for t in range(self.steps):
            if t == reset_row_0_at:
                seen = self.reset_row_0(env, rollout, seen)
                done[0] = False
            resetting = done & (self.mode == AutoresetMode.NEXT_STEP)
            own = [ignored if resetting[row] else action_seeds[row] for row in range(rows)]
            actions = self.actions(env, seen, own, rollout.taken)
            if scribble:
                scribble_over(raw)
            previous = None if scribble else (raw, returned)
            raw = self.call(env.step, actions)
            returned = copy.deepcopy(raw)
            if previous is not None:
                place = difference(*previous, 0.0)
                self.require(
                    place is None,
                    f"returned arrays must be copies: a step changed what was returned before "
                    f"({place})",
                )
            done = self.take_in(env, rollout, resetting, returned)
            ever_done = ever_done or bool(done.any())
            if self.mode == AutoresetMode.DISABLED and done.any():
                before = returned[0]
                raw = self.call(env.reset, options={"reset_mask": done.copy()})
                returned = copy.deepcopy(raw)
                self.check_mask_reset(env, done, before, *returned)
                self.begin(env, rollout, np.flatnonzero(done).tolist(), *returned)
                done[:] = False
            seen = returned[0]
        env.close()
        self.require(
            ever_done,
            f"no row ended in {self.steps} steps, so that autoreset cannot be checked: give more "
            "steps or an environment with shorter episodes",
        )
        return rollout.events

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls the environment with valid arguments, which must not raise."""
        try:
            return method(*args, **kwargs)
        except Exception as error:
            name = getattr(method, "__name__", "the environment")
            raise self.fail(
                f"{name}() raised {error!r} although its arguments are valid"
            ) from error

    def begin(
        self,
        env: VectorEnv,
        rollout: Rollout,
        rows: Sequence[int],
        observations: Any,
        infos: dict[str, Any],
    ) -> None:
        every = list(iterate(env.observation_space, observations))
        for row in rows:
            info = row_info(infos, row)
            for key in FINAL_KEYS:
                info.pop(key, None)
            rollout.events[row].append({"observation": every[row], "info": info})

    def take_in(
        self, env: VectorEnv, rollout: Rollout, resetting: np.ndarray, returned: tuple[Any, ...]
    ) -> np.ndarray:
        """Checks one step and writes it down; which rows are done now."""
        observations, rewards, terminated, truncated, infos = returned
        self.check_observations(env, observations, "step()")
        shape = (len(resetting),)
        for name, array, kind in (
            ("rewards", rewards, np.floating),
            ("terminated", terminated, np.bool_),
            ("truncated", truncated, np.bool_),
        ):
            self.require(
                isinstance(array, np.ndarray)
                and array.shape == shape
                and np.issubdtype(array.dtype, kind),
                f"{name} must be an array of {kind.__name__} and shape {shape}, got "
                f"{getattr(array, 'dtype', type(array))} {np.shape(array)}",
            )
        self.require(np.isfinite(rewards).all(), f"rewards must be finite, got {rewards}")
        self.check_infos(infos, np.ones(shape, bool), "step()")
        done: np.ndarray = terminated | truncated
        same_step = self.mode == AutoresetMode.SAME_STEP
        for key in FINAL_KEYS:
            mask = infos.get(f"_{key}", np.zeros(shape, bool))
            self.require(
                (mask == (done & same_step)).all(),
                f"infos['_{key}'] must mark "
                + (f"the rows that ended, {done}" if same_step else "no row in this mode")
                + f", got {mask}",
            )
        self.require(
            not (resetting & ((rewards != 0.0) | done)).any(),
            "the step after the end must return reward 0 and no end",
        )
        every = list(iterate(env.observation_space, observations))
        for row in range(len(resetting)):
            if resetting[row]:
                continue
            ended = same_step and done[row]
            info = row_info(infos, row)
            if ended:
                self.require(
                    env.single_observation_space.contains(infos["final_obs"][row]),
                    f"final_obs of row {row} must be in single_observation_space",
                )
            rollout.taken[row] += 1
            rollout.events[row].append(
                {
                    "observation": infos["final_obs"][row] if ended else every[row],
                    "reward": rewards[row],
                    "terminated": terminated[row],
                    "truncated": truncated[row],
                    "info": info["final_info"] if ended else info,
                }
            )
        fresh = resetting | (done & same_step)
        self.begin(env, rollout, np.flatnonzero(fresh).tolist(), observations, infos)
        return done

    def reset_row_0(self, env: VectorEnv, rollout: Rollout, before: Any) -> Any:
        """Begins row 0 anew from its first seed, in the middle of the others' episodes.

        Returns:
            The observations then.
        """
        rows = len(rollout.events)
        mask = np.arange(rows) == 0
        seeds = [self.seed, *[None] * (rows - 1)]
        returned = self.call(env.reset, seed=seeds, options={"reset_mask": mask.copy()})
        returned = copy.deepcopy(returned)
        self.check_mask_reset(env, mask, before, *returned)
        self.begin(env, rollout, [0], *returned)
        rollout.events[0][-1]["again"] = True
        rollout.taken[0] = 0
        return returned[0]

    def check_mask_reset(
        self, env: VectorEnv, mask: np.ndarray, before: Any, after: Any, infos: dict[str, Any]
    ) -> None:
        self.check_observations(env, after, "reset()")
        self.check_infos(infos, mask, "reset() with a reset_mask")
        pairs = zip(
            iterate(env.observation_space, before),
            iterate(env.observation_space, after),
            strict=True,
        )
        for row, (one, other) in enumerate(pairs):
            self.require(
                mask[row] or difference(one, other, 0.0) is None,
                f"reset_mask {mask} must leave row {row} as it is, bit for bit",
            )

    def check_observations(self, env: VectorEnv, observations: Any, where: str) -> None:
        problem = outside(env.observation_space, observations, "observations")
        self.require(problem is None, f"{where}: {problem}")

    def check_infos(self, infos: Any, allowed: np.ndarray, where: str) -> None:
        """Every key has a mask `[B]` beside it, which stays within the rows that are allowed."""
        self.require(isinstance(infos, dict), f"{where}: infos must be a dict")
        for key, value in infos.items():
            if key.startswith("_") and key[1:] in infos:
                continue
            mask = infos.get(f"_{key}")
            self.require(
                isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == allowed.shape,
                f"{where}: infos[{key!r}] needs a bool mask infos['_{key}'] of shape "
                f"{allowed.shape}, got {mask!r}",
            )
            self.require(
                not (mask & ~allowed).any(),
                f"{where}: infos['_{key}'] is {mask}, but only the rows {allowed} may have it",
            )
            if isinstance(value, dict):
                self.check_infos(value, mask, f"{where}: infos[{key!r}]")
            else:
                self.require(
                    isinstance(value, np.ndarray) and len(value) == len(allowed),
                    f"{where}: infos[{key!r}] must be an array with one entry per row",
                )
