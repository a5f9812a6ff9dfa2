"""Random numbers for many rows at once, each row's from a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 512
"""Numbers that a row's generator draws at a time."""


class RowStreams:
    """Uniform random numbers of B rows, drawn together.

    A row's numbers follow from its seed and from how many it drew before, never from the other
    rows. That makes an episode the same in a batch of one and in a batch of many, which one
    generator for all rows could not, and costs a Python call per row only once in 512 numbers.

    Args:
        seeds: Seed of each of the B rows.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._rows = np.arange(len(seeds))
        self._numbers = np.empty((len(seeds), BLOCK))
        self._next = np.full(len(seeds), BLOCK)

    def seed(self, row: int, seed: int) -> None:
        """Begins the numbers of one row anew.

        Args:
            row: The row.
            seed: Its seed, >= 0.
        """
        self._generators[row] = np.random.default_rng(seed)
        self._next[row] = BLOCK

    def uniform(self, count: int, rows: np.ndarray | None = None) -> np.ndarray:
        """The next numbers of every row.

        Args:
            count: Numbers per row, 1 to 512.
            rows: `[B]` bool, the rows that draw; by default all. The others get 0 and keep what
                they would have drawn.

        Returns:
            `[B, count]` float64 in [0, 1).
        """
        drawing = np.ones(len(self._rows), bool) if rows is None else rows
        if int(self._next.max(initial=0)) + count > BLOCK:
            for row in np.flatnonzero(drawing & (self._next + count > BLOCK)):
                self._generators[row].random(out=self._numbers[row])
                self._next[row] = 0
        if rows is None:
            places = self._next[:, None] + np.arange(count)  # [B, count]
            drawn = self._numbers[self._rows[:, None], places]
            self._next += count
            return drawn
        drawn = np.zeros((len(self._rows), count))
        chosen = np.flatnonzero(rows)
        drawn[chosen] = self._numbers[chosen[:, None], self._next[chosen, None] + np.arange(count)]
        self._next[chosen] += count
        return drawn
