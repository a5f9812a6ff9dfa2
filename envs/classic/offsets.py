"""How far cells of a grid lie from one another, in rows and columns."""

from __future__ import annotations

import numpy as np


def offsets(origin: np.ndarray, target: np.ndarray, width: int) -> np.ndarray:
    """Rows down and columns right from cells to others.

    Args:
        origin: Numbers of cells, `row * width + column`.
        target: The others, of a shape that goes with the first.
        width: Columns of the grid.

    Returns:
        `[..., 2]` int.
    """
    row, column = np.divmod(origin, width)
    other_row, other_column = np.divmod(target, width)
    return np.stack([other_row - row, other_column - column], axis=-1)


def manhattan(origin: np.ndarray, target: np.ndarray, width: int) -> np.ndarray:
    """Manhattan distance of cells from others, arguments as for `offsets`."""
    distance: np.ndarray = np.abs(offsets(origin, target, width)).sum(axis=-1)
    return distance
