"""What B learners remember, each for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from erm_gym.streams import RowStreams


class Batch(NamedTuple):
    """Remembered steps of R rows, n each."""

    state: np.ndarray
    """`[R, n]` int64, where the row was."""
    action: np.ndarray
    """`[R, n]` int64, what it did."""
    reward: np.ndarray
    """`[R, n]` float32, what was learned from."""
    after: np.ndarray
    """`[R, n]` int64, where it came to."""
    terminated: np.ndarray
    """`[R, n]` bool, where nothing came after."""
    levels: np.ndarray
    """`[R, n, C]` float64, how strong each channel was when the row acted."""
    risk: np.ndarray
    """`[R, n]` float32, the risk level that the row had where it came to; 1 if it knows none."""


class Replay:
    """The last steps of B rows. What was felt is kept as it was felt: replay changes no emotion.

    Args:
        seeds: Seed of each of the B rows.
        capacity: Steps that are remembered, >= 1.
        channels: Number C of channels.
    """

    def __init__(self, seeds: Sequence[int], capacity: int, channels: int) -> None:
        shape = (len(seeds), capacity)
        self._fields = Batch(
            state=np.zeros(shape, np.int64),
            action=np.zeros(shape, np.int64),
            reward=np.zeros(shape, np.float32),
            after=np.zeros(shape, np.int64),
            terminated=np.zeros(shape, bool),
            levels=np.zeros((*shape, channels)),
            risk=np.ones(shape, np.float32),
        )
        self.stored = np.zeros(len(seeds), np.int64)
        self._capacity = capacity
        self._streams = RowStreams(seeds)

    def add(self, rows: np.ndarray, step: Batch) -> None:
        """Remembers one step.

        Args:
            rows: `[R]` int, whose steps are remembered.
            step: Of all B rows: fields `[B]`, and `levels` `[B, C]`.
        """
        place = self.stored[rows] % self._capacity
        for field, values in zip(self._fields, step, strict=True):
            field[rows, place] = values[rows]
        self.stored[rows] += 1

    def sample(self, rows: np.ndarray, count: int) -> Batch:
        """Draws steps with replacement, each as likely.

        Args:
            rows: `[R]` int, whose steps are drawn; each must have one.
            count: Steps per row, 1 to 512.
        """
        drawing = np.zeros(len(self.stored), bool)
        drawing[rows] = True
        draws = self._streams.uniform(count, None if drawing.all() else drawing)[rows]
        known = np.minimum(self.stored[rows], self._capacity)[:, None]
        places = (draws * known).astype(np.int64)  # [R, n]
        return Batch(*(field[rows[:, None], places] for field in self._fields))
