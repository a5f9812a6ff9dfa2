"""PredatorPrey: pellets to eat, and a predator that comes nearer."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP, Cell, GridVectorEnv

STEP_REWARD, PELLET_REWARD, CAUGHT_REWARD = -0.01, 1.0, -50.0
PELLETS = 5
PURSUIT = 0.8
"""Probability that the predator moves towards the agent, and not at random."""
SIGHT = 3
"""Offsets of the predator beyond this look alike in the fair form."""


class PredatorPreyVectorEnv(GridVectorEnv):
    """Food in random cells and a predator, none of which the agent sees; the faithful form.

    Description: 10 x 10 cells, agent at (0, 0), predator at (9, 9), five pellets in random cells
        other than the agent's, each of which comes back elsewhere when it is eaten. The agent
        moves, then the predator: with probability .8 along the larger of its gaps, the column's if
        they are equal, else at random. Only where both are in one cell after that is the agent
        caught: it may enter the predator's cell, and escape if the predator then moves at random.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(100)`, the agent's cell.
    Rewards: -.01 a step, +1 for each pellet, -50 when caught.
    Termination: caught. Truncation: 200 steps.
    Context: `threat_distance`, Manhattan, of the predator, and `next_threat_distance` `[B, 4]`, of
        the cell that each action enters.
    Measures: `food`, pellets eaten; `caught`.

    Source: Emotional-ED, experiment 22.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=10,
            width=10,
            time_limit=200,
            measures=("food", "caught"),
            **options,
        )
        self.predator = self.per_row(int)
        self.pellets = self.per_row(int, (PELLETS,))

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.pellets[rows] = self._free_cells(self.uniform(PELLETS))[rows]
        self.predator[rows] = self.cell((9, 9))
        self.blocked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        draws = self.uniform(2 + PELLETS)
        self.go(actions)
        eaten = self.pellets == self.position[:, None]  # [B, 5]
        self.pellets[:] = np.where(eaten, self._free_cells(draws[:, 2:]), self.pellets)
        pursuing = draws[:, 0] < PURSUIT
        moves = np.where(pursuing, self._pursuit(), (draws[:, 1] * 4).astype(np.int64))
        met = pursuing & (self.position == self.predator)
        moved = self.moves.target[self.predator, moves]
        self.predator[:] = np.where(met, self.predator, moved)
        caught = self.position == self.predator
        self.measures["food"] += eaten.sum(axis=1)
        self.measures["caught"] += caught
        rewards = STEP_REWARD + PELLET_REWARD * eaten.sum(axis=1) + CAUGHT_REWARD * caught
        return rewards, caught

    def _free_cells(self, draws: np.ndarray) -> np.ndarray:
        """Cells other than the agent's, from numbers `[B, 5]` in [0, 1)."""
        cells = (draws * (self.height * self.width - 1)).astype(np.int64)
        return cells + (cells >= self.position[:, None])

    def _pursuit(self) -> np.ndarray:
        down, right = self._gap(self.predator, self.position)
        vertical = np.where(down > 0, DOWN, UP)
        return np.where(np.abs(down) > np.abs(right), vertical, np.where(right > 0, RIGHT, LEFT))

    def _gap(self, origin: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows down and columns right from one cell to another."""
        row, column = np.divmod(origin, self.width)
        other_row, other_column = np.divmod(target, self.width)
        return other_row - row, other_column - column

    def _distance(self, origin: np.ndarray, target: np.ndarray) -> np.ndarray:
        down, right = self._gap(origin, target)
        return np.abs(down) + np.abs(right)

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            "threat_distance": self._distance(self.position, self.predator).astype(float),
            "next_threat_distance": self._distance(entered, self.predator[:, None]).astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        symbols = {divmod(int(cell), self.width): "*" for cell in self.pellets[row]}
        symbols[divmod(int(self.predator[row]), self.width)] = "T"
        return symbols


class FairPredatorPreyVectorEnv(PredatorPreyVectorEnv):
    """The same chase, in which everybody sees the predator, the way to food, and the edges.

    Observation: `MultiDiscrete([7, 7, 3, 3, 3, 3])`: rows down and columns right to the predator,
        each cut to -3 ... 3; the signs of those to the nearest pellet; and whether the agent is at
        the first (0), between (1) or at the last (2) row, and column.

    Everything else is as in the faithful form. Food draws the agent on, and the predator follows.

    Source: the fair form of Emotional-ED, experiment 22; the cuts are our own, so that a table of
        3969 states holds it.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([2 * SIGHT + 1] * 2 + [3] * 4))

    def _observe(self) -> np.ndarray:
        away = np.stack(self._gap(self.position, self.predator), axis=1)  # [B, 2]
        nearest = self._distance(self.position[:, None], self.pellets).argmin(axis=1)
        pellet = np.take_along_axis(self.pellets, nearest[:, None], axis=1)[:, 0]
        food = np.stack(self._gap(self.position, pellet), axis=1)
        cell = np.stack(np.divmod(self.position, self.width), axis=1)
        edges = 1 + (cell == self.width - 1).astype(np.int64) - (cell == 0)
        return np.hstack([np.clip(away, -SIGHT, SIGHT) + SIGHT, np.sign(food) + 1, edges])
