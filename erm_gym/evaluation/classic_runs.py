"""Episodes of a learner in a classic environment, all rows together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.agents.emotional_ed import Situation
from erm_gym.evaluation.config import RunError

Episodes = dict[str, np.ndarray]
"""Arrays `[B, E]` of B rows and E episodes: `return`, `length`, and the environment's measures."""


class Learner(Protocol):
    """What plays B rows: `erm_gym.agents.emotional_ed.QLearner`, say."""

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Episodes begin in these rows."""

    def act(
        self, situation: Situation, *, epsilon: float | None, active: np.ndarray | None
    ) -> np.ndarray:
        """Chooses actions `[B]`."""

    def observe(
        self,
        before: Situation,
        action: np.ndarray,
        reward: np.ndarray,
        after: Situation,
        terminated: np.ndarray,
        *,
        active: np.ndarray,
        learning: bool,
    ) -> None:
        """Feels and learns."""


def play(
    envs: VectorEnv,
    learner: Learner,
    episodes: int,
    *,
    seed: int | Sequence[int],
    learning: bool = True,
    epsilon: float | None = None,
    limit_ends: bool = False,
) -> Episodes:
    """Plays as many episodes in every row.

    Rows that have played theirs wait for the others: nothing is drawn, felt or learned there.

    Args:
        envs: A classic environment whose autoreset is disabled.
        learner: Who plays, for as many rows.
        episodes: Episodes E per row, >= 1.
        seed: Of every row, or of row 0 and the next for the next row, and so on.
        learning: Whether the learner learns.
        epsilon: Probability of a random action; by default the learner's own.
        limit_ends: Whether the learner takes a time limit for an end after which nothing comes, a
            defect that most of the published experiments have.

    Returns:
        Of every row and episode: `return` (the environment's reward, summed), `length` in steps,
        `truncated` (1 if the time limit ended it), and the environment's measures, `[B, E]` each.

    Raises:
        RunError: If the environment begins episodes by itself.
    """
    if envs.metadata["autoreset_mode"] != AutoresetMode.DISABLED:
        raise RunError("make the environment with autoreset_mode='Disabled'")
    rows = np.arange(envs.num_envs)
    observations, infos = envs.reset(seed=seed)  # type: ignore[arg-type]
    found: Episodes = {}
    played = np.zeros(envs.num_envs, int)
    total, length = np.zeros(envs.num_envs), np.zeros(envs.num_envs)
    active = np.ones(envs.num_envs, bool)
    here = _situation(envs, observations, infos, np.full(envs.num_envs, -1))
    learner.begin(active, here)
    while active.any():
        actions = learner.act(here, epsilon=epsilon, active=None if active.all() else active)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        there = _situation(envs, observations, infos, actions)
        ends = terminated | truncated if limit_ends else terminated
        learner.observe(here, actions, rewards, there, ends, active=active, learning=learning)
        total += rewards
        length += 1
        done = terminated | truncated
        here = there
        if not done.any():
            continue
        ended = done & active
        values = {"return": total, "length": length, "truncated": truncated}
        for name, column in (values | infos.get("measures", {})).items():
            if not name.startswith("_"):
                table = found.setdefault(name, np.full((envs.num_envs, episodes), np.nan))
                table[rows[ended], played[ended]] = column[ended]
        played += ended
        total[done] = length[done] = 0.0
        observations, infos = envs.reset(options={"reset_mask": done})
        active = played < episodes
        here = _situation(envs, observations, infos, np.where(done, -1, actions))
        if (done & active).any():
            learner.begin(done & active, here)
    return found


def make_rows(env_id: str, rows: int, **options: Any) -> VectorEnv:
    """A classic environment for `play`.

    Args:
        env_id: Its id. That a faithful form is called out of date beside the fair one, as Gymnasium
            does with older versions, is left out.
        rows: Rows B, >= 1.
        **options: Of the environment.

    Raises:
        RunError: If there is no such environment, or it has no table of states and actions.
    """
    try:
        mode = AutoresetMode.DISABLED
        envs = gym.make_vec(gym.spec(env_id), num_envs=rows, autoreset_mode=mode, **options)
    except (gym.error.Error, TypeError) as error:
        raise RunError(f"cannot make {env_id!r} as a classic environment: {error}") from error
    observed, taken = envs.single_observation_space, envs.single_action_space
    if isinstance(taken, spaces.Discrete) and isinstance(
        observed, (spaces.Discrete, spaces.MultiDiscrete)
    ):
        return envs
    raise RunError(f"{env_id!r} has no table of states and actions; give a classic environment")


def number_of_actions(space: Any) -> int:
    """How many actions a `Discrete` space has."""
    return int(space.n)


def number_of_states(space: Any) -> int:
    """How many observations a `Discrete` or `MultiDiscrete` space has."""
    return math.prod(factor_sizes(space))


def factor_sizes(space: Any) -> list[int]:
    """How many values each factor of a `Discrete` or `MultiDiscrete` observation has."""
    return [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.tolist()


def state_numbers(space: Any, observations: np.ndarray) -> np.ndarray:
    """The number `[B]` of each observation, in [0, S)."""
    if isinstance(space, spaces.Discrete):
        return observations
    return np.ravel_multi_index(tuple(observations.T), tuple(space.nvec))


def _situation(
    envs: VectorEnv, observations: np.ndarray, infos: Mapping[str, Any], last_action: np.ndarray
) -> Situation:
    return Situation(
        state=state_numbers(envs.single_observation_space, observations),
        context=infos.get("context", {}),
        last_action=last_action,
    )
