"""Seasons: items of two colours, one of which pays while the other one costs, until they swap."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv

SIZE = 5
STEP_REWARD, ITEM_REWARD = -0.01, 1.0
SEASON_LENGTH = 100
"""Episodes after which the colours swap in the faithful form."""
SWAP_PROBABILITY = 0.02
"""Of a swap before an episode in the fair form."""
RED: tuple[Cell, ...] = ((0, 0), (0, 4))
BLUE: tuple[Cell, ...] = ((4, 0), (4, 4))
NOWHERE = 2 * SIZE
"""Distance of an item that there is not."""


class SeasonsVectorEnv(GridVectorEnv):
    """Colours that swap every 100 episodes, and items that may be gone unseen; the faithful form.

    Description: 5 x 5 cells, start (2, 2), red items at (0, 0) and (0, 4), blue ones at (4, 0) and
        (4, 4), each once in an episode. Red pays and blue costs in the first 100 episodes after a
        seed, then the other way round, and so on.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell; which items are gone is hidden.
    Rewards: -.01 a step, and +1 or -1 for an item. Best 1.5: both that pay, and no others.
    Termination: all four items taken. Truncation: 50 steps.
    Context: `blocked`, 1 if the last move was into the edge.
    Measures: `paid` and `cost`, items taken that did.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, experiment 19.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=50,
            measures=("paid", "cost"),
            **options,
        )
        self.episode = self.per_row(int, fill=-1)
        self.red_pays = self.per_row(bool)
        self.taken = self.per_row(bool, (4,))
        self._items = np.array([self.cell(cell) for cell in RED + BLUE])
        self._red = np.array([True] * len(RED) + [False] * len(BLUE))

    def _forget(self, rows: np.ndarray) -> None:
        self.episode[rows] = -1

    def _begin(self, rows: np.ndarray) -> None:
        self.episode[rows] += 1
        self.red_pays[rows] = (self.episode // SEASON_LENGTH % 2 == 0)[rows]
        self._lay_out(rows)

    def _lay_out(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell((2, 2))
        self.taken[rows] = False
        self.blocked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        found = self._found()
        self.taken |= found
        pays = found.any(axis=1) & (found == self._paying()).all(axis=1, where=found)
        costs = found.any(axis=1) & ~pays
        self.measures["paid"] += pays
        self.measures["cost"] += costs
        reward = STEP_REWARD + ITEM_REWARD * (pays.astype(float) - costs)
        ended = np.asarray(self.taken.all(axis=1))
        return reward, ended

    def _found(self) -> np.ndarray:
        """The item `[B, 4]` bool that lies where the agent is."""
        return (self._items == self.position[:, None]) & ~self.taken

    def _paying(self) -> np.ndarray:
        """Which items pay, `[B, 4]` bool."""
        return self._red == self.red_pays[:, None]

    def _context(self) -> dict[str, np.ndarray]:
        return {"blocked": self.blocked.astype(float)}

    def _symbols(self, row: int) -> dict[Cell, str]:
        cells = zip(RED + BLUE, "RRBB", self.taken[row], strict=True)
        return {cell: letter for cell, letter, taken in cells if not taken}


class FairSeasonsVectorEnv(SeasonsVectorEnv):
    """The same with swaps at random times, and everybody knows what is left and what paid last.

    Description: as in the faithful form. Which colour pays first is drawn with the seed, and before
        every episode the colours swap with probability .02. Nothing announces it: the first item of
        an episode has to be tried, and who learns fast has the better guess which.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 16, 3])`: the agent's cell; the sum of 1, 2, 4, 8 for the items
        that are gone, red ones first; and whether nothing is known in this episode (0), or, from
        the last item, that red (1) or that blue pays (2).
    Rewards: as in the faithful form. Termination: all items taken. Truncation: 50 steps.
    Context: `blocked`; `next_paying_distance` `[B, 4]`, Manhattan, from the cell that each action
        enters to the nearest item left of the colour that pays as far as is known, of both while
        nothing is; 10 if there is none left.
    Measures: as in the faithful form; `red_pays`, 1 if red did.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 19; the probability is our own, and so is that
        what paid last is observed.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, 16, 3]))
        self.measures["red_pays"] = self.per_row(float)
        self.known = self.per_row(int)
        rows, columns = np.divmod(np.arange(SIZE * SIZE), SIZE)
        down, right = np.divmod(self._items, SIZE)
        self._item_distance = np.abs(rows[:, None] - down) + np.abs(columns[:, None] - right)

    def _begin(self, rows: np.ndarray) -> None:
        draw = self.uniform()[:, 0]
        self.episode[rows] += 1
        swapped = self.red_pays ^ (draw < SWAP_PROBABILITY)
        self.red_pays[rows] = np.where(self.episode == 0, draw < 0.5, swapped)[rows]
        self.measures["red_pays"][rows] = self.red_pays[rows]
        self.known[rows] = 0
        self._lay_out(rows)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = self.taken.sum(axis=1)
        reward, terminated = super()._advance(actions)
        learned = self.taken.sum(axis=1) > before
        self.known[:] = np.where(learned, 2 - self.red_pays, self.known)
        return reward, terminated

    def _observe(self) -> np.ndarray:
        gone = self.taken @ np.array([1, 2, 4, 8])
        return np.stack([self.position, gone, self.known], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        wanted = (self.known == 0)[:, None] | (self._red == (self.known == 1)[:, None])  # [B, 4]
        away = self._item_distance[self.moves.target[self.position]]  # [B, A, 4]
        left = np.where((wanted & ~self.taken)[:, None], away, NOWHERE)
        return {**super()._context(), "next_paying_distance": left.min(axis=2).astype(float)}
