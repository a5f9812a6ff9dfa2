"""AngerGrid: walls in the way, which bumps do not move; and a door that persistence may open."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.door_grid import DoorGridVectorEnv
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances, grid_moves

STEP_REWARD, GOAL_REWARD = -0.01, 1.0
WALLS: tuple[Cell, ...] = ((2, 2), (2, 3), (3, 2))
FAIR_STEP_REWARD = -0.05
FAIR_WALLS: tuple[Cell, ...] = ((1, 2), (2, 2), (3, 2))


class AngerGridVectorEnv(GridVectorEnv):
    """Walls that are not in the way and fall by themselves; the faithful form.

    Description: 5 x 5 cells, start (0, 0), goal (4, 4), walls (2, 2), (2, 3) and (3, 2) for the
        first steps of an episode. Shortest paths avoid the walls, so that to bump is never of use,
        and most bumps are into the edge.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell; whether the walls stand is hidden.
    Rewards: -.01 a step; +1 at the goal, in its place. Best .93.
    Termination: the goal. Truncation: 100 steps.
    Context: `blocked`, 1 if the last move was into a wall or the edge; `wall_hit`, 1 if into a
        wall; `goal_distance`, Euclidean, in cells.
    Measures: `blocked`, `wall_hits` (the edge left out) and `goal`.

    Args:
        num_envs: Rows B, >= 1.
        wall_duration: The step of an episode from which the walls are gone; 0 if they stay.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 2.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        wall_duration: int = 10,
        **options: Unpack[VectorOptions],
    ) -> None:
        if wall_duration < 0:
            raise ValueError(f"wall_duration must be at least 0, got {wall_duration}")
        super().__init__(
            num_envs,
            height=5,
            width=5,
            time_limit=100,
            walls=WALLS,
            measures=("blocked", "wall_hits", "goal"),
            **options,
        )
        self.start, self.goal = (0, 0), (4, 4)
        self.wall_duration = wall_duration
        self.wall_hit = self.per_row(bool)
        self._free = grid_moves(self.height, self.width)
        self._goal_distance = distances([self.goal], self.height, self.width)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(self.start)
        self.blocked[rows] = self.wall_hit[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = self.position, actions
        free = self._free
        self.wall_hit[:] = self._standing() & self.moves.blocked[place] & ~free.blocked[place]
        self.blocked[:] = self.wall_hit | free.blocked[place]
        self.position[:] = np.where(self.wall_hit, self.position, free.target[place])
        arrived = self.position == self.cell(self.goal)
        self.measures["blocked"] += self.blocked
        self.measures["wall_hits"] += self.wall_hit
        self.measures["goal"] += arrived
        return np.where(arrived, GOAL_REWARD, STEP_REWARD), arrived

    def _standing(self) -> np.ndarray:
        if self.wall_duration == 0:
            return np.ones(self.num_envs, bool)
        return self.elapsed < self.wall_duration

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "blocked": self.blocked.astype(float),
            "wall_hit": self.wall_hit.astype(float),
            "goal_distance": self._goal_distance[self.position],
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        standing = self._standing()[row]
        return {self.goal: "G"} | ({} if standing else dict.fromkeys(self.walls, "."))


class FairAngerGridVectorEnv(DoorGridVectorEnv):
    """A door that opens to the third push in some episodes and never in the others.

    Description: 5 x 5 cells, start (0, 0) or (0, 1), goal (0, 4). Column 2 is wall but for its
        lowest cell and a door at (0, 2). From (0, 0) 6 steps lead through the door, 12 around the
        wall, 15 around it after three pushes in vain: at a probability of one half to push three
        times and then to give up is best, to push for ever is worst.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 4])`: the agent's cell, and the consecutive pushes up to 3.
    Rewards: -.05 a step; +1 at the goal, in its place.
    Termination: the goal. Truncation: 100 steps.
    Context: `blocked`, `wall_hit`, `goal_distance` as in the faithful form; `pushing`, 1 if the
        last move was a push; `pushes`, their number over 3.
    Measures: `blocked`, `wall_hits`, `goal`, and `opened`, 1 if the door opened.

    Args:
        num_envs: Rows B, >= 1.
        probability: That the door can be opened in an episode, in [0, 1].
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 2; the numbers are our own.
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
        super().__init__(
            num_envs,
            height=5,
            width=5,
            time_limit=100,
            walls=FAIR_WALLS,
            door=(0, 2),
            needed=3,
            observation_space=spaces.MultiDiscrete([25, 4]),
            measures=("blocked", "wall_hits", "goal", "opened"),
            **options,
        )
        self.goal = (0, 4)
        self.probability = probability
        self._goal_distance = distances([self.goal], self.height, self.width)

    def _begin(self, rows: np.ndarray) -> None:
        drawn = self.uniform(2)
        self.position[rows] = drawn[rows, 1] < 0.5  # cell 0 or 1
        self.close_door(rows)
        self.can_open[rows] = drawn[rows, 0] < self.probability

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        closed = ~self.open
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        self.measures["blocked"] += self.blocked
        self.measures["wall_hits"] += self.wall_hit
        self.measures["opened"] += self.open & closed
        self.measures["goal"] += arrived
        return np.where(arrived, GOAL_REWARD, FAIR_STEP_REWARD), arrived

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.pushes], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        return {**super()._context(), "goal_distance": self._goal_distance[self.position]}

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {self.goal: "G", **super()._symbols(row)}
