"""Failure modes: fear of what does no harm, and anger at a wall in the only way."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances, grid_moves

STEP_REWARD, GOAL_REWARD = -0.01, 1.0
BUMP_REWARD = -0.05
RING: tuple[Cell, ...] = tuple(
    (row, column) for row in (1, 2, 3) for column in (1, 2, 3) if (row, column) != (2, 2)
)
WALL: tuple[Cell, ...] = tuple((2, column) for column in range(5))
GAP = (2, 2)


class FearRingVectorEnv(GridVectorEnv):
    """A ring of scary cells that cost nothing and are not in the way; the faithful form.

    Description: 5 x 5 cells, start (0, 0), goal (0, 4); the ring is the 3 x 3 block in the middle
        without its centre. The best way is row 0, outside the ring.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell.
    Rewards: -.01 a step; +1 more at the goal. Best .96.
    Termination: the goal. Truncation: 50 steps.
    Context: `threat_distance` from the nearest cell of the ring, Euclidean; `next_threat_distance`
        `[B, 4]`; `goal_distance`; `blocked`.
    Measures: `goal`; `scares`, steps on the ring.

    Source: Emotional-ED, experiment 15, environment 1.
    """

    start: Cell = (0, 0)
    """Where an episode begins."""
    goal: Cell = (0, 4)
    """Where it ends."""

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=5,
            width=5,
            time_limit=50,
            measures=("goal", "scares"),
            **options,
        )
        self._threat_distance = distances(RING, self.height, self.width)
        self._goal_distance = distances([self.goal], self.height, self.width)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(self.start)
        self.blocked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        self.measures["goal"] += arrived
        self.measures["scares"] += self._threat_distance[self.position] == 0.0
        return STEP_REWARD + GOAL_REWARD * arrived, arrived

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat_distance": self._threat_distance[self.moves.target[self.position]],
            "goal_distance": self._goal_distance[self.position],
            "blocked": self.blocked.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {**dict.fromkeys(RING, "T"), self.goal: "G"}


class FairFearRingVectorEnv(FearRingVectorEnv):
    """The way to the goal leads through the ring, which costs nothing still.

    Description: as in the faithful form, from (2, 0) to (2, 4): 4 steps through the ring, 8 around
        it. Fear is wrong here, so that more of it can only do harm: a curve over its weight says
        how much is borne.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 2])`: the agent's cell, and whether it is on the ring.
    Rewards, termination, truncation, context, measures: as in the faithful form. Best .96.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 15.
    """

    start = (2, 0)
    goal = (2, 4)

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([25, 2]))

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self._threat_distance[self.position] == 0.0], axis=1)


class BlockedWayVectorEnv(GridVectorEnv):
    """A goal that cannot be reached; the faithful form.

    Description: 5 x 5 cells, start (0, 2), goal (4, 4), row 2 all wall.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell.
    Rewards: -.01 a step, -.05 more for a blocked one; +1 more at the goal, which is out of reach.
    Termination: the goal. Truncation: 100 steps.
    Context: `blocked`, 1 if the last move was into the wall or the edge; `wall_hit`, 1 if into the
        wall; `pushing` and `pushes`, the same: one push tells whether there is a way.
    Measures: `goal`, `blocked`, `wall_hits`.

    Source: Emotional-ED, experiment 15, environment 2.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=5,
            width=5,
            time_limit=100,
            walls=WALL,
            measures=("goal", "blocked", "wall_hits"),
            **options,
        )
        self.goal = (4, 4)
        self.open = self.per_row(bool)
        self.wall_hit = self.per_row(bool)
        self._free = grid_moves(self.height, self.width)
        self._opened = grid_moves(self.height, self.width, [cell for cell in WALL if cell != GAP])

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell((0, 2))
        self.blocked[rows] = self.wall_hit[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = self.position, actions
        self.blocked[:] = np.where(
            self.open, self._opened.blocked[place], self.moves.blocked[place]
        )
        self.wall_hit[:] = self.blocked & ~self._free.blocked[place]
        self.position[:] = np.where(self.blocked, self.position, self._free.target[place])
        arrived = self.position == self.cell(self.goal)
        self.measures["goal"] += arrived
        self.measures["blocked"] += self.blocked
        self.measures["wall_hits"] += self.wall_hit
        return STEP_REWARD + BUMP_REWARD * self.blocked + GOAL_REWARD * arrived, arrived

    def _context(self) -> dict[str, np.ndarray]:
        hit = self.wall_hit.astype(float)
        context = {"blocked": self.blocked.astype(float), "wall_hit": hit}
        return {**context, "pushing": hit.copy(), "pushes": hit.copy()}

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {self.goal: "G"} | ({GAP: "."} if self.open[row] else {})


class FairBlockedWayVectorEnv(BlockedWayVectorEnv):
    """A wall that has a gap in some episodes.

    Description: as in the faithful form, but in half of the episodes (2, 2) is free from the start
        on: to try is worth a bump, to try again is not.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 2])`: the agent's cell, and whether the last move was blocked.
    Rewards, termination, truncation, context, measures: as in the faithful form. Best .95 where
        there is a gap.

    Args:
        num_envs: Rows B, >= 1.
        probability: Of the gap, in [0, 1].
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 15; the probability is our own.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        probability: float = 0.5,
        **options: Unpack[VectorOptions],
    ) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability must be in [0, 1], got {probability}")
        super().__init__(num_envs, **options)
        self.probability = probability
        self.observe_as(spaces.MultiDiscrete([25, 2]))

    def _begin(self, rows: np.ndarray) -> None:
        super()._begin(rows)
        self.open[rows] = self.uniform()[rows, 0] < self.probability

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.blocked], axis=1)
