"""Grid worlds: cells, walls, moves and distances as tables, in which all rows move together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import numpy as np
from gymnasium import spaces
from PIL import Image, ImageDraw

from erm_gym.envs.classic.base import ClassicVectorEnv, VectorOptions

Cell = tuple[int, int]
"""Row and column, from the top left."""

UP, DOWN, LEFT, RIGHT = range(4)
OFFSETS: Sequence[Cell] = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""What the actions add to row and column."""

CELL_PIXELS = 32
COLOURS = {
    ".": "#ffffff",
    "#": "#4d4d4d",
    "A": "#2b6cb0",
    "G": "#2f855a",
    "T": "#c53030",
}
"""Colours of symbols in pictures: free, wall, agent, goal, threat; all others are yellow."""
OTHER_COLOUR = "#ecc94b"


class Moves(NamedTuple):
    """Where an action leads."""

    target: np.ndarray
    """`[S, A]` int: the cell that is entered; the same one if the way is blocked."""
    blocked: np.ndarray
    """`[S, A]` bool: whether a wall or the edge is in the way."""


def cell_number(cell: Cell, width: int) -> int:
    """`row * width + column`."""
    return cell[0] * width + cell[1]


def distances(cells: Sequence[Cell], height: int, width: int, *, order: float = 2) -> np.ndarray:
    """Distance of every cell from the nearest of some cells.

    Args:
        cells: At least one.
        height: Rows of the grid.
        width: Columns of the grid.
        order: 2 for Euclidean distance, 1 for Manhattan distance.

    Returns:
        `[S]` float, in cells.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    every = [
        np.linalg.norm(np.stack([rows - row, columns - column]), ord=order, axis=0)
        for row, column in cells
    ]
    return np.min(every, axis=0)


def grid_moves(height: int, width: int, walls: Sequence[Cell] = ()) -> Moves:
    """Moves up, down, left and right; an agent stays where a wall or the edge is in the way."""
    solid = np.zeros((height, width), bool)
    for cell in walls:
        solid[cell] = True
    rows, columns = np.divmod(np.arange(height * width), width)
    target = np.empty((height * width, 4), np.int64)
    blocked = np.empty((height * width, 4), bool)
    for action, (down, right) in enumerate(OFFSETS):
        row, column = rows + down, columns + right
        outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
        row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
        blocked[:, action] = outside | solid[row, column]
        entered = row * width + column
        target[:, action] = np.where(blocked[:, action], np.arange(height * width), entered)
    return Moves(target, blocked)


class GridVectorEnv(ClassicVectorEnv):
    """B rows of a grid world with the actions 0 up, 1 down, 2 left, 3 right.

    The observation is the number of the agent's cell, `row * width + column`, unless a subclass has
    more. A subclass sets `position` in `_begin` and moves it with `go`.

    Args:
        num_envs: Rows B, >= 1.
        height: Rows of the grid.
        width: Columns of the grid.
        time_limit: Steps after which an episode is truncated.
        walls: Cells that cannot be entered.
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
        walls: Sequence[Cell] = (),
        observation_space: spaces.Discrete | spaces.MultiDiscrete | None = None,
        measures: Sequence[str] = (),
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(
            num_envs,
            observation_space=observation_space or spaces.Discrete(height * width),
            num_actions=4,
            time_limit=time_limit,
            measures=measures,
            **options,
        )
        self.height, self.width = height, width
        self.walls = tuple(walls)
        self.moves = grid_moves(height, width, walls)
        self.position = self.per_row(int)
        self.blocked = self.per_row(bool)

    def cell(self, cell: Cell) -> int:
        """Number of a cell of this grid."""
        return cell_number(cell, self.width)

    def go(self, actions: np.ndarray, moves: Moves | None = None) -> None:
        """Moves the agent of every row; `blocked` `[B]` tells where it could not.

        Args:
            actions: `[B]` int.
            moves: By default those with `walls`.
        """
        moves = self.moves if moves is None else moves
        self.blocked[:] = moves.blocked[self.position, actions]
        self.position[:] = moves.target[self.position, actions]

    def _observe(self) -> np.ndarray:
        return self.position

    def _symbols(self, row: int) -> dict[Cell, str]:
        """What stands where, one letter each; walls and the agent are added. For pictures."""
        return {}

    def _picture(self, row: int) -> list[str]:
        symbols: dict[Cell, Any] = dict.fromkeys(self.walls, "#") | self._symbols(row)
        row_, column = divmod(int(self.position[row]), self.width)
        symbols[row_, column] = "A"
        return [
            "".join(symbols.get((i, j), ".") for j in range(self.width)) for i in range(self.height)
        ]

    def _ansi(self, row: int) -> str:
        return "\n".join(self._picture(row))

    def _rgb_array(self, row: int) -> np.ndarray:
        size = (self.width * CELL_PIXELS, self.height * CELL_PIXELS)
        image = Image.new("RGB", size, "#a0a0a0")
        draw = ImageDraw.Draw(image)
        for i, line in enumerate(self._picture(row)):
            for j, symbol in enumerate(line):
                x, y = j * CELL_PIXELS, i * CELL_PIXELS
                box = (x + 1, y + 1, x + CELL_PIXELS - 1, y + CELL_PIXELS - 1)
                draw.rectangle(box, fill=COLOURS.get(symbol, OTHER_COLOUR))
                if symbol not in ".#":
                    middle = (x + CELL_PIXELS / 2, y + CELL_PIXELS / 2)
                    dark = symbol in COLOURS
                    draw.text(middle, symbol, fill="white" if dark else "black", anchor="mm")
        return np.asarray(image)
