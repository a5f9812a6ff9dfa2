"""Grids with a door that opens when it is pushed often enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, Moves, grid_moves


class DoorGridVectorEnv(GridVectorEnv):
    """B rows of a grid with a closed door, and perhaps with decoys that never open.

    A push is a move into the closed door or a decoy. The `needed`-th consecutive one opens the
    door, and is the move through it; a real move in between begins the count anew, a bump
    elsewhere does not.

    A subclass calls `close_door` in `_begin`, and moves with `go`, which sets `blocked`, `pushing`
    (whether the move was a push) and `pushes` (up to `needed`), `[B]` each.

    Args:
        num_envs: Rows B, >= 1.
        height: Rows of the grid.
        width: Columns of the grid.
        time_limit: Steps after which an episode is truncated.
        walls: Cells that cannot be entered, without the door and the decoys.
        door: Cell of the door.
        decoys: Cells that may be pushed, in vain.
        needed: Pushes that open the door, >= 1.
        observation_space: By default `Discrete(height * width)`.
        measures: Names of what is measured.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        height: int,
        width: int,
        time_limit: int,
        walls: Sequence[Cell],
        door: Cell,
        decoys: Sequence[Cell] = (),
        needed: int,
        observation_space: spaces.Discrete | spaces.MultiDiscrete | None = None,
        measures: Sequence[str] = (),
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(
            num_envs,
            height=height,
            width=width,
            time_limit=time_limit,
            walls=(*walls, *decoys),
            observation_space=observation_space,
            measures=measures,
            **options,
        )
        self.door, self.decoys, self.needed = door, tuple(decoys), needed
        self.closed_moves = grid_moves(height, width, (*self.walls, door))
        self._at_door = self.closed_moves.blocked & ~self.moves.blocked  # [S, A]
        without = grid_moves(height, width, walls)
        self._at_decoy = self.moves.blocked & ~without.blocked
        self._in_grid = ~grid_moves(height, width).blocked
        self.open = self.per_row(bool)
        self.can_open = self.per_row(bool, fill=True)
        self.pushes = self.per_row(int)
        self.pushing = self.per_row(bool)
        self.wall_hit = self.per_row(bool)

    def close_door(self, rows: np.ndarray) -> None:
        """Closes the door of `rows` `[B]` bool, and forgets their pushes."""
        self.open[rows] = False
        self.pushes[rows] = 0
        for flags in (self.pushing, self.wall_hit, self.blocked):
            flags[rows] = False

    def go(self, actions: np.ndarray, moves: Moves | None = None) -> None:
        """Pushes, opens and moves.

        Args:
            actions: `[B]` int.
            moves: Not used: the door decides.
        """
        place = self.position, actions
        at_door = self._at_door[place] & ~self.open
        self.pushing[:] = at_door | self._at_decoy[place]
        self.pushes[:] = np.minimum(self.pushes + self.pushing, self.needed)
        self.open |= at_door & self.can_open & (self.pushes >= self.needed)
        opened, closed = self.moves, self.closed_moves
        self.blocked[:] = np.where(self.open, opened.blocked[place], closed.blocked[place])
        self.wall_hit[:] = self.blocked & self._in_grid[place]
        self.position[:] = np.where(self.open, opened.target[place], closed.target[place])
        self.pushes[~self.blocked] = 0

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "blocked": self.blocked.astype(float),
            "wall_hit": self.wall_hit.astype(float),
            "pushing": self.pushing.astype(float),
            "pushes": self.pushes / self.needed,
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        door = {} if self.open[row] else {self.door: "D"}
        return {**door, **dict.fromkeys(self.decoys, "D")}
