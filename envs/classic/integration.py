"""Integration: three goals, of which one is near a threat and one behind a wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances, grid_moves

STEP_REWARD, THREAT_REWARD = -0.01, -0.2
THREAT, START = (3, 4), (3, 0)
SAFE, RISKY, BLOCKED = (0, 6), (3, 6), (6, 6)
HITS = 4
"""Hits of an episode after which the wall is gone."""


class IntegrationVectorEnv(GridVectorEnv):
    """A wall with a way round it at both ends; the faithful form.

    Description: 7 x 7 cells, start (3, 0). Goals: safe (0, 6), worth .3; risky (3, 6), worth 1, on
        the far side of a threat at (3, 4); blocked (6, 6), worth .6, below a wall in row 4 from
        column 1 to 5. The wall is gone after the fourth hit of an episode, but the columns 0 and 6
        are open: nobody has to touch it.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(49)`, the agent's cell; whether the wall stands is hidden.
    Rewards: -.01 a step; -.2 more on the threat's cell; a goal's worth is added. Best: .92 risky
        (.74 over the threat), .51 blocked, .21 safe.
    Termination: any goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean; `next_threat_distance` `[B, 4]`; `blocked`; `wall_hit`, 1
        if blocked by the wall; `regret`, at a goal its worth minus 1, or minus .3 at the risky one,
        else 0.
    Measures: `safe`, `risky`, `walled` (1 where the episode ended at that goal), `wall_hits`,
        `threats` (steps on its cell).

    Source: Emotional-ED, experiment 7.
    """

    worth: Mapping[Cell, float] = {SAFE: 0.3, RISKY: 1.0, BLOCKED: 0.6}
    """What the goals are worth."""
    columns = range(1, 6)
    """Columns of the wall."""

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=7,
            width=7,
            time_limit=100,
            walls=[(4, column) for column in self.columns],
            measures=("safe", "risky", "walled", "wall_hits", "threats"),
            **options,
        )
        self.hits = self.per_row(int)
        self.wall_hit = self.per_row(bool)
        self._free = grid_moves(self.height, self.width)
        self._threat_distance = distances([THREAT], self.height, self.width)
        self._worth, self._regret = np.zeros((2, self.height * self.width))
        for goal, worth in self.worth.items():
            self._worth[self.cell(goal)] = worth
            self._regret[self.cell(goal)] = worth - (0.3 if goal == RISKY else 1.0)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(START)
        self.hits[rows] = 0
        self.blocked[rows] = self.wall_hit[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = self.position, actions
        free = self._free
        standing = self.hits < HITS
        self.wall_hit[:] = standing & self.moves.blocked[place] & ~free.blocked[place]
        self.blocked[:] = self.wall_hit | free.blocked[place]
        self.position[:] = np.where(self.wall_hit, self.position, free.target[place])
        self.hits += self.wall_hit
        harmed = self.position == self.cell(THREAT)
        worth = self._worth[self.position]
        for name, goal in (("safe", SAFE), ("risky", RISKY), ("walled", BLOCKED)):
            self.measures[name] += self.position == self.cell(goal)
        self.measures["wall_hits"] += self.wall_hit
        self.measures["threats"] += harmed
        return STEP_REWARD + THREAT_REWARD * harmed + worth, worth > 0.0

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat_distance": self._threat_distance[self._free.target[self.position]],
            "blocked": self.blocked.astype(float),
            "wall_hit": self.wall_hit.astype(float),
            "regret": self._regret[self.position],
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        fallen = dict.fromkeys(self.walls, ".") if self.hits[row] >= HITS else {}
        return {**fallen, **dict.fromkeys(self.worth, "G"), THREAT: "T"}


class FairIntegrationVectorEnv(IntegrationVectorEnv):
    """A wall from end to end, and behind it the best goal.

    Description: as in the faithful form, but row 4 is all wall and the goal behind it worth 1.2: 13
        steps with four hits, 1.07 in all, against .92 for who goes round the threat and stays on
        this side. Who gives up after three hits has paid for nothing.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([49, 5])`: the agent's cell, and the wall's hits up to 4.
    Rewards, termination, truncation, measures: as in the faithful form.
    Context: as in the faithful form, and `pushing`, 1 if the last move hit the wall; `pushes`, the
        hits over 4.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 7; the worth of the goal is our own.
    """

    worth: Mapping[Cell, float] = {SAFE: 0.3, RISKY: 1.0, BLOCKED: 1.2}
    columns = range(7)

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([49, HITS + 1]))

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.hits], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        pushing = {"pushing": self.wall_hit.astype(float), "pushes": self.hits / HITS}
        return {**super()._context(), **pushing}
