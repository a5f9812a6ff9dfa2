"""FearGrid: a grid world with a threat beside the way to the goal."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances
from erm_gym.envs.classic.planning import Model

STEP_REWARD, GOAL_REWARD = -0.01, 1.0
THREAT = (2, 2)
HARM_RADIUS = 1.5


class FearGridVectorEnv(GridVectorEnv):
    """A goal on the far side of a threat that costs nothing; the faithful form.

    Description: 5 x 5 cells, start (0, 0), goal (4, 4), threat (2, 2). 36 of the 70 shortest paths
        cross the threat, and all of them have the best return, .93 in 8 steps: whatever a fear
        does here, it does to a choice between ties.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(25)`, the agent's cell.
    Rewards: -.01 a step; +1 at the goal, in its place.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean, in cells; `next_threat_distance` `[B, 4]`, of the cell
        that each action enters; `blocked`, 1 if the last move was into the edge; `goal_distance`.
    Measures: `min_threat_distance`, over the cells entered, the start left out; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        threat: Cell of the threat, (1, 3) where transfer to another one is asked for.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiments 1 and 13.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        threat: Cell = THREAT,
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(
            num_envs,
            height=5,
            width=5,
            time_limit=100,
            measures=("min_threat_distance", "goal"),
            **options,
        )
        if not (0 <= threat[0] < self.height and 0 <= threat[1] < self.width):
            raise ValueError(f"threat must be a cell of the 5 x 5 grid, got {threat}")
        self.start, self.goal, self.threat = (0, 0), (4, 4), threat
        self._threat_distance = distances([threat], self.height, self.width)
        self._goal_distance = distances([self.goal], self.height, self.width)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(self.start)
        self.blocked[rows] = False
        self.measures["min_threat_distance"][rows] = self._threat_distance.max()

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        nearest = self.measures["min_threat_distance"]
        nearest[:] = np.minimum(nearest, self._threat_distance[self.position])
        arrived = self.position == self.cell(self.goal)
        self.measures["goal"] += arrived
        return np.where(arrived, GOAL_REWARD, STEP_REWARD), arrived

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat_distance": self._threat_distance[self.moves.target[self.position]],
            "goal_distance": self._goal_distance[self.position],
            "blocked": self.blocked.astype(float),
        }

    def _symbols(self, row: int) -> dict[tuple[int, int], str]:
        return {self.threat: "T", self.goal: "G"}


class FairFearGridVectorEnv(FearGridVectorEnv):
    """A threat on the straight way that does harm, so that keeping away has a price and a use.

    Description: 5 x 5 cells, start (2, 0), goal (2, 4), threat (2, 2): 4 steps straight over the
        threat, 6 around it at a distance of 1 or more, 8 at 1.5 or more. Entering a cell nearer
        than 1.5 does harm with probability `probability`.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 3])`: the agent's cell, and whether the threat is nearer than
        1.5 (0), nearer than 3 (1), or further (2).
    Rewards: -.01 a step, +1 at the goal in its place, `-harm` where harm is done.
    Termination: the goal. Truncation: 100 steps.
    Context: as in the faithful form.
    Measures: `min_threat_distance`, `goal`, and `harm`, the number of times that harm was done.

    Args:
        num_envs: Rows B, >= 1.
        harm: What harm costs, >= 0.
        probability: Of harm on entering a cell near the threat, in [0, 1].
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 1; the product of the two defaults is .1.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        harm: float = 0.5,
        probability: float = 0.2,
        **options: Unpack[VectorOptions],
    ) -> None:
        if not harm >= 0.0:
            raise ValueError(f"harm must be at least 0, got {harm}")
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability must be in [0, 1], got {probability}")
        super().__init__(num_envs, **options)
        self.start, self.goal = (2, 0), (2, 4)
        self.harm, self.probability = harm, probability
        self._goal_distance = distances([self.goal], self.height, self.width)
        self.measures["harm"] = self.per_row(float)
        self._band = np.digitize(self._threat_distance, [HARM_RADIUS, 3.0])
        self.observe_as(spaces.MultiDiscrete([self.height * self.width, 3]))

    def model(self) -> Model:
        """The transition model of this environment, its time limit left out."""
        cells = np.arange(self.height * self.width)
        goal = cells == self.cell(self.goal)
        target = self.moves.target  # [S, A]
        near = (self._threat_distance[target] < HARM_RADIUS) & (target != cells[:, None])
        reward = np.where(goal[target], GOAL_REWARD, STEP_REWARD)
        reward = reward - self.harm * self.probability * near
        transition = np.eye(len(cells))[target]  # [S, A, S]
        transition[goal] = np.eye(len(cells))[goal][:, None, :]
        reward[goal] = 0.0
        return Model(transition, reward, goal)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards, terminated = super()._advance(actions)
        near = self._threat_distance[self.position] < HARM_RADIUS
        harmed = near & ~self.blocked & (self.uniform()[:, 0] < self.probability)
        self.measures["harm"] += harmed
        return rewards - self.harm * harmed, terminated

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self._band[self.position]], axis=1)
