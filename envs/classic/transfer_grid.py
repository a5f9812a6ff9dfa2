"""TransferGrid: a threat that is elsewhere in the test, or in every episode."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 5
STEP_REWARD, GOAL_REWARD, HARM_REWARD = -0.01, 1.0, -0.5
HARM_RADIUS = 1.5
OFFSETS = 2
"""Offsets of the threat beyond this look alike in the fair form."""


class TransferGridVectorEnv(GridVectorEnv):
    """A harmful threat that the agent's cell does not show; the faithful form.

    Description: 5 x 5 cells, start (0, 0), goal (4, 4), threat (2, 2) in training and (1, 3) in
        the test. Every step that ends nearer to it than 1.5 does harm.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell.
    Rewards: -.01 a step and 1 more at the goal; -.5 more where harm is done.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean; `next_threat_distance` `[B, 4]`, of the cell that each
        action enters; `harm`, 1 if the last step did.
    Measures: `hits`, steps with harm; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        threat: Cell of the threat.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 11.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        threat: Cell = (2, 2),
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("hits", "goal"),
            **options,
        )
        if not (0 <= threat[0] < SIZE and 0 <= threat[1] < SIZE):
            raise ValueError(f"threat must be a cell of the 5 x 5 grid, got {threat}")
        self.goal = (SIZE - 1, SIZE - 1)
        cells = [divmod(cell, SIZE) for cell in range(SIZE * SIZE)]
        self._distances = np.stack([distances([cell], SIZE, SIZE) for cell in cells])  # [S, S]
        self.threat = self.per_row(int, fill=self.cell(threat))
        self.harmed = self.per_row(bool)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.harmed[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        self.harmed[:] = self._distances[self.threat, self.position] < HARM_RADIUS
        self.measures["hits"] += self.harmed
        self.measures["goal"] += arrived
        return STEP_REWARD + GOAL_REWARD * arrived + HARM_REWARD * self.harmed, arrived

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            "threat_distance": self._distances[self.threat, self.position],
            "next_threat_distance": self._distances[self.threat[:, None], entered],
            "harm": self.harmed.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {divmod(int(self.threat[row]), SIZE): "T", self.goal: "G"}


class FairTransferGridVectorEnv(TransferGridVectorEnv):
    """A threat in another place each episode, which everybody sees from where they stand.

    Description: as the faithful form, but the threat is drawn each episode from the 17 cells that
        are further than 1.5 from start and goal, or, for a test, from those that are held out.
    Observation: `MultiDiscrete([5, 5, 2, 2])`: rows down and columns right to the threat, each cut
        to -2 ... 2, and whether the goal is further down, and to the right.

    Everything else is as in the faithful form.

    Args:
        num_envs: Rows B, >= 1.
        held_out: None for every cell; False for those of training, True for the quarter of them
            that is kept for the test.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 11; the cuts are our own.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        held_out: bool | None = None,
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([2 * OFFSETS + 1] * 2 + [2, 2]))
        ends = self._distances[[0, self.cell(self.goal)]].min(axis=0)
        cells = np.flatnonzero(ends > HARM_RADIUS)
        kept = np.arange(len(cells)) % 4 == 0
        self.places = cells if held_out is None else cells[kept == held_out]

    def _begin(self, rows: np.ndarray) -> None:
        drawn = (self.uniform()[:, 0] * len(self.places)).astype(np.int64)
        self.threat[rows] = self.places[drawn][rows]
        super()._begin(rows)

    def _observe(self) -> np.ndarray:
        row, column = np.divmod(self.position, SIZE)
        other_row, other_column = np.divmod(self.threat, SIZE)
        away = np.stack([other_row - row, other_column - column], axis=1)
        further = np.stack([row < SIZE - 1, column < SIZE - 1], axis=1)
        return np.hstack([np.clip(away, -OFFSETS, OFFSETS) + OFFSETS, further])
