"""Gamble: a threat that strikes hard or seldom on the short way to the goal."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

GOAL_REWARD = 1.0


class GambleVectorEnv(GridVectorEnv):
    """A threat of uncertain harm that is free to avoid; the faithful form.

    Description: 6 x 6 cells, start (0, 0), goal (5, 5), threat (2, 2). 132 of the 252 shortest
        paths miss it, so whoever minds risk has nothing to give up for it.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell.
    Rewards: -.01 a step, +1 more at the goal; on the threat's cell minus a normal number of mean .5
        and standard deviation .3, cut to .1 ... 1. Best .90.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean; `next_threat_distance` `[B, 4]`.
    Measures: `hits`, steps that end on the threat's cell; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, V2 CVaR fear.
    """

    shape: Cell = (6, 6)
    start: Cell = (0, 0)
    goal: Cell = (5, 5)
    threat: Cell = (2, 2)
    walls_at: tuple[Cell, ...] = ()
    step_reward = -0.01

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        height, width = self.shape
        super().__init__(
            num_envs,
            height=height,
            width=width,
            time_limit=100,
            walls=self.walls_at,
            measures=("hits", "goal"),
            **options,
        )
        self._threat_distance = distances([self.threat], height, width)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(self.start)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        harm = self._harm() * (self.position == self.cell(self.threat))
        arrived = self.position == self.cell(self.goal)
        self.measures["hits"] += harm > 0.0
        self.measures["goal"] += arrived
        return self.step_reward + GOAL_REWARD * arrived - harm, arrived

    def _harm(self) -> np.ndarray:
        """What the threat's cell costs `[B]`."""
        draws = self.uniform(2)
        normal = np.sqrt(-2.0 * np.log1p(-draws[:, 0])) * np.cos(2.0 * np.pi * draws[:, 1])
        return np.clip(0.5 + 0.3 * normal, 0.1, 1.0)

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat_distance": self._threat_distance[self.moves.target[self.position]],
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {self.threat: "T", self.goal: "G"}


class FairGambleVectorEnv(GambleVectorEnv):
    """A short way that is better in the mean, and a long one that is safe.

    Description: 5 x 9 cells, start (2, 0), goal (2, 8); column 4 is wall but for (0, 4) and
        (2, 4), where -2 strikes with probability .05. Through it: 8 steps, .50 in the mean, -.40 in
        the mean of the worst tenth. Around it: 12 steps, .40 for sure.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(45)`, the agent's cell, from which the threat's distance follows.
    Rewards: -.05 a step, +1 more at the goal, -2 where the threat strikes.
    Termination: the goal. Truncation: 100 steps.
    Context and measures: as in the faithful form; `hits` counts strikes.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, V2 CVaR fear.
    """

    shape = (5, 9)
    start, goal, threat = (2, 0), (2, 8), (2, 4)
    walls_at = ((1, 4), (3, 4), (4, 4))
    step_reward = -0.05
    strike, probability = 2.0, 0.05

    def _harm(self) -> np.ndarray:
        return self.strike * (self.uniform()[:, 0] < self.probability)
