"""Directions in grids whose actions are 0 up, 1 down, 2 left and 3 right."""

from __future__ import annotations

import numpy as np

OPPOSITE = np.array([1, 0, 3, 2])
"""Of the actions."""


def towards(origin: np.ndarray, target: np.ndarray, width: int) -> np.ndarray:
    """The action from cells to cells along the larger gap, along the column if they are equal.

    Args:
        origin: `[B]` int, numbers of cells, `row * width + column`.
        target: `[B]` int; a negative one means none.
        width: Columns of the grid.

    Returns:
        `[B]` int; -1 where there is no target, or it is reached.
    """
    row, column = np.divmod(origin, width)
    wanted_row, wanted_column = np.divmod(target, width)
    down, right = wanted_row - row, wanted_column - column
    vertical = np.where(down > 0, 1, 0)
    action = np.where(np.abs(down) >= np.abs(right), vertical, np.where(right > 0, 3, 2))
    return np.where((target < 0) | (target == origin), -1, action)
