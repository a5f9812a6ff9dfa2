"""SlipperyCliff: a way along a cliff on which every fifth step may slip."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP, GridVectorEnv, Moves, distances
from erm_gym.envs.classic.planning import Model

HEIGHT, WIDTH, TIME_LIMIT = 4, 12, 200
CLIFF = tuple((3, column) for column in range(1, 11))
STEP_REWARD, GOAL_REWARD = -1.0, 10.0
SLIP = 0.2
ORDER = (UP, RIGHT, DOWN, LEFT)
"""Moves in the order of this environment's actions, which is not that of the other grids."""


class SlipperyCliffVectorEnv(GridVectorEnv):
    """A cliff, and a goal that lies far from it, so that safety costs nothing; the faithful form.

    Description: 4 x 12 cells, start (3, 0), cliff (3, 1) to (3, 10), goal (0, 11). With probability
        .2 a step slips: one of the four moves, each as likely, takes the place of the action. The
        best policy has the return -12.93 and survives in .936 of the episodes, and no policy that
        arrives survives more often: there is nothing to weigh up.
    Action Space: `Discrete(4)`: up, right, down, left.
    Observation: `Discrete(48)`, the agent's cell.
    Rewards: -1 a step; +10 at the goal and -100 on the cliff, in its place.
    Termination: the goal and the cliff. Truncation: 200 steps.
    Context: `threat_distance`, Manhattan, in cells from the cliff; `next_threat_distance` `[B, 4]`,
        of the cell that each action enters if it does not slip.
    Measures: `fell` and `goal`, 1 if the episode ended there.

    Source: Emotional-ED, experiment 18.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=HEIGHT,
            width=WIDTH,
            time_limit=TIME_LIMIT,
            measures=("fell", "goal"),
            **options,
        )
        moves, order = self.moves, list(ORDER)
        self.moves = Moves(moves.target[:, order], moves.blocked[:, order])
        self.start, self.goal = (3, 0), (0, WIDTH - 1)
        self.fall = 100.0
        self.on_cliff = np.isin(np.arange(HEIGHT * WIDTH), [self.cell(cell) for cell in CLIFF])
        self._distance = distances(CLIFF, HEIGHT, WIDTH, order=1)

    def model(self) -> Model:
        """The transition model of this environment, its time limit left out."""
        cells = np.arange(HEIGHT * WIDTH)
        terminal = self.on_cliff | (cells == self.cell(self.goal))
        entered = np.eye(len(cells))[self.moves.target]  # [S, A, S]
        transition = (1.0 - SLIP) * entered + SLIP * entered.mean(axis=1, keepdims=True)
        transition[terminal] = np.eye(len(cells))[terminal][:, None, :]
        reward = transition @ self._rewards(cells)  # [S, A]
        reward[terminal] = 0.0
        return Model(transition, reward, terminal)

    def observation_at(self, cells: np.ndarray) -> np.ndarray:
        """What is observed in cells `[n]`."""
        return cells

    def context_at(self, cells: np.ndarray) -> dict[str, np.ndarray]:
        """What an emotion may look at in cells `[n]`."""
        return {
            "threat_distance": self._distance[cells],
            "next_threat_distance": self._distance[self.moves.target[cells]],
        }

    def _rewards(self, cells: np.ndarray) -> np.ndarray:
        rewards = np.where(cells == self.cell(self.goal), GOAL_REWARD, STEP_REWARD)
        return np.where(self.on_cliff[cells], -self.fall, rewards)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(self.start)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        draws = self.uniform(2)
        slipped = draws[:, 0] < SLIP
        self.go(np.where(slipped, (draws[:, 1] * len(ORDER)).astype(np.int64), actions))
        fell, arrived = self.on_cliff[self.position], self.position == self.cell(self.goal)
        self.measures["fell"] += fell
        self.measures["goal"] += arrived
        return self._rewards(self.position), fell | arrived

    def _observe(self) -> np.ndarray:
        return self.observation_at(self.position)

    def _context(self) -> dict[str, np.ndarray]:
        return self.context_at(self.position)

    def _symbols(self, row: int) -> dict[tuple[int, int], str]:
        return {**dict.fromkeys(CLIFF, "T"), self.goal: "G"}


class FairSlipperyCliffVectorEnv(SlipperyCliffVectorEnv):
    """A goal at the end of the cliff, so that safety has a price.

    Description: as the faithful form, but the goal is (3, 11), beside the cliff's end. Where a fall
        costs 20, the best policy has the return -9.77 and survives in .907 of the episodes, the
        safest -11.45 and .933. Where it costs 100, -16.40 and .930, against -16.80 and .933.
    Action Space: `Discrete(4)`: up, right, down, left.
    Observation: `MultiDiscrete([48, 5])`: the agent's cell, and its distance from the cliff.
    Rewards: -1 a step; +10 at the goal and `-fall` on the cliff, in its place.
    Termination: the goal and the cliff. Truncation: 200 steps.
    Context: as in the faithful form.
    Measures: as in the faithful form.

    Args:
        num_envs: Rows B, >= 1.
        fall: What a fall costs, >= 0.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 18.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        fall: float = 20.0,
        **options: Unpack[VectorOptions],
    ) -> None:
        if not fall >= 0.0:
            raise ValueError(f"fall must be at least 0, got {fall}")
        super().__init__(num_envs, **options)
        self.goal, self.fall = (3, WIDTH - 1), fall
        self.observe_as(spaces.MultiDiscrete([HEIGHT * WIDTH, int(self._distance.max()) + 1]))

    def observation_at(self, cells: np.ndarray) -> np.ndarray:
        """What is observed in cells `[n]`: `[n, 2]`."""
        return np.stack([cells, self._distance[cells].astype(np.int64)], axis=1)
