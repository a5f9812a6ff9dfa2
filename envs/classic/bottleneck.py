"""Bottleneck: a door in the only way, which opens to who pushes long enough."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.door_grid import DoorGridVectorEnv
from erm_gym.envs.classic.grid import Cell

STEP_REWARD, GOAL_REWARD = -0.01, 10.0
SIZE = 6
DOOR = (2, 3)
DECOY = (1, 3)
COLUMN: tuple[Cell, ...] = tuple((row, 3) for row in range(SIZE))
NEEDED = 4


class BottleneckVectorEnv(DoorGridVectorEnv):
    """A door whose state and pushes are hidden from all but the anger; the faithful form.

    Description: 6 x 6 cells, start (0, 0), goal (5, 5); column 3 is wall but for a door at (2, 3),
        which the fourth consecutive push opens.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell.
    Rewards: -.01 a step; +10 at the goal, in its place. Best 9.88.
    Termination: the goal. Truncation: 200 steps.
    Context: `blocked`, 1 if the last move was into a wall, the door or the edge; `wall_hit`, 1 if
        not into the edge; `pushing`, 1 if it was a push; `pushes`, consecutive ones, over 4.
    Measures: `opened`, 1 if the door opened; `goal`; `blocked`; `pushes`.

    Source: Emotional-ED, experiment 20.
    """

    decoys: tuple[Cell, ...] = ()
    """Doors that never open."""

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=200,
            walls=[cell for cell in COLUMN if cell not in (DOOR, *self.decoys)],
            door=DOOR,
            decoys=self.decoys,
            needed=NEEDED,
            measures=("opened", "goal", "blocked", "pushes"),
            **options,
        )
        self.goal = (SIZE - 1, SIZE - 1)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.close_door(rows)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        closed = ~self.open
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        self.measures["opened"] += self.open & closed
        self.measures["goal"] += arrived
        self.measures["blocked"] += self.blocked
        self.measures["pushes"] += self.pushing
        return np.where(arrived, GOAL_REWARD, STEP_REWARD), arrived

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {self.goal: "G", **super()._symbols(row)}


class FairBottleneckVectorEnv(BottleneckVectorEnv):
    """The same with a decoy above the door, and everybody counts the pushes.

    Description: as in the faithful form, with a second door at (1, 3) that never opens, so that to
        push on has a price. A learner cannot tell the two apart but by trying.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([36, 5])`: the agent's cell, and the consecutive pushes up to 4,
        those at the decoy among them.
    Rewards: as in the faithful form. Termination: the goal. Truncation: 200 steps.
    Context: as in the faithful form.
    Measures: as in the faithful form; `pushes` counts those at the decoy too.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 20; the decoy's place is our own.
    """

    decoys = (DECOY,)

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, NEEDED + 1]))

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.pushes], axis=1)
