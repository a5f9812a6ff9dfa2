"""PitchBlack: a key that nobody sees, and the door that it opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv

DOOR_REWARD = 10.0


def room_walls(size: int) -> list[Cell]:
    """Two walls that part `size` x `size` cells into four rooms, with a doorway in each half."""
    middle, first, second = size // 2, size // 4, size // 2 + 1 + size // 4
    along = [i for i in range(size) if i not in (first, second)]
    return sorted({(middle, i) for i in along} | {(i, middle) for i in along})


class PitchBlackVectorEnv(GridVectorEnv):
    """A key in a random cell, which the agent finds by stepping on it; the faithful form.

    Description: 10 x 10 cells, start (0, 0), door (9, 9), a key in any other cell, drawn anew in
        every episode. Neither the key nor whether the agent has it can be seen, so the best that
        a table over cells can hold is one way through all of them.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(100)`, the agent's cell.
    Rewards: +10 for the door with the key, else 0.
    Termination: the door with the key. Truncation: 500 steps.
    Context: `visits`, how often the agent's cell was entered in this episode, the start once at
        first; `next_visits` and `next_blocked`, both `[B, 4]`, of the cell that each action
        enters; `sought`, 1 until the key is found.
    Measures: `solved`; `key`, whether it was found.

    Source: Emotional-ED, experiment 17.
    """

    size, longest = 10, 500
    inner_walls: Sequence[Cell] = ()
    step_reward = 0.0

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        size = self.size
        super().__init__(
            num_envs,
            height=size,
            width=size,
            time_limit=self.longest,
            walls=self.inner_walls,
            measures=("solved", "key"),
            **options,
        )
        self.start, self.door = self.cell((0, 0)), self.cell((size - 1, size - 1))
        taken = [self.start, self.door, *map(self.cell, self.walls)]
        self._hiding_places = np.setdiff1d(np.arange(size * size), taken)
        self.key = self.per_row(int)
        self.has_key = self.per_row(bool)
        self.visits = self.per_row(int, (size * size,))
        self._rows = np.arange(num_envs)

    def _begin(self, rows: np.ndarray) -> None:
        drawn = (self.uniform()[:, 0] * len(self._hiding_places)).astype(np.int64)
        self.key[rows] = self._hiding_places[drawn[rows]]
        self.has_key[rows] = self.blocked[rows] = False
        self.position[rows] = self.start
        self.visits[rows] = 0
        self.visits[rows, self.start] = 1

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        self.visits[self._rows, self.position] += 1
        self.has_key |= self.position == self.key
        solved = self.has_key & (self.position == self.door)
        self.measures["solved"] += solved
        self.measures["key"][:] = self.has_key
        return np.where(solved, DOOR_REWARD, self.step_reward), solved

    def _next_visits(self) -> np.ndarray:
        entered = self.moves.target[self.position]  # [B, 4]
        return self.visits[self._rows[:, None], entered]

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "visits": self.visits[self._rows, self.position].astype(float),
            "next_visits": self._next_visits().astype(float),
            "next_blocked": self.moves.blocked[self.position].astype(float),
            "sought": 1.0 - self.has_key,
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        symbols = {divmod(self.door, self.width): "G"}
        if not self.has_key[row]:
            symbols[divmod(int(self.key[row]), self.width)] = "K"
        return symbols


class FairPitchBlackVectorEnv(PitchBlackVectorEnv):
    """Four rooms, in which everybody sees what curiosity sees, and whether the key is found.

    Description: n x n cells in four rooms, start (0, 0), door in the opposite corner, a key in any
        other cell, drawn anew in every episode. Looking around pays before the key is found and
        costs time afterwards.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([n * n, 2, 4])`: the agent's cell, whether it has the key, and the
        action that enters the neighbour least often visited in this episode, the first of equals.
    Rewards: -.01 a step, +10 in its place for the door with the key.
    Termination: the door with the key. Truncation: 4 n^2 steps.
    Context and measures: as in the faithful form.

    Args:
        num_envs: Rows B, >= 1.
        size: Cells n on a side, >= 5.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 17. The step's price is our own choice, so
        that the return tells how long it took; so is the size, since a table learns hardly
        anything in the 20 x 20 cells of the proposal.
    """

    step_reward = -0.01

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 11,
        **options: Unpack[VectorOptions],
    ) -> None:
        if size < 5:
            raise ValueError(f"size must be at least 5, got {size}")
        self.size, self.longest, self.inner_walls = size, 4 * size**2, room_walls(size)
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([size**2, 2, 4]))

    def _observe(self) -> np.ndarray:
        blocked = self.moves.blocked[self.position]
        freshest = np.where(blocked, np.inf, self._next_visits()).argmin(axis=1)
        return np.stack([self.position, self.has_key, freshest], axis=1)
