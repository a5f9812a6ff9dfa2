"""Conflict: two rewards, of which the larger one lies beside a threat."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

STEP_REWARD, SAFE_REWARD, RISKY_REWARD, HARM_REWARD = -0.01, 0.3, 1.0, -0.3
SIZE = 7
START, SAFE, RISKY, THREAT = (3, 2), (3, 0), (3, 4), (3, 5)
HARM_RADIUS = 1.5


class ConflictVectorEnv(GridVectorEnv):
    """Rewards of which the agent does not see whether they were taken; the faithful form.

    Description: 7 x 7 cells, start (3, 2), safe reward (3, 0), risky reward (3, 4), threat (3, 5).
        Each reward is there once. The threat does harm in every cell nearer than 1.5, the risky
        reward's among them.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(49)`, the agent's cell; which rewards are left is hidden.
    Rewards: -.01 a step; .3 at the safe reward and 1 at the risky one, in its place; -.3 more near
        the threat. Best .96.
    Termination: both were taken. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean; `next_threat_distance` `[B, 4]`; `risky_distance`,
        `next_risky_distance`; `risky_left`, 1 until it is taken.
    Measures: `safe` and `risky`, 1 if taken; `safe_first`, `risky_first`; `near`, steps that end
        within 2 of the threat.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, experiment 5.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("risky", "safe", "safe_first", "risky_first", "near"),
            **options,
        )
        self.safe_left = self.per_row(bool)
        self.risky_left = self.per_row(bool)
        self._threat_distance = distances([THREAT], SIZE, SIZE)
        self._risky_distance = distances([RISKY], SIZE, SIZE)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = self.cell(START)
        self.safe_left[rows] = self.risky_left[rows] = True

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        safe = self.safe_left & (self.position == self.cell(SAFE))
        risky = self.risky_left & (self.position == self.cell(RISKY))
        measures = self.measures
        measures["safe_first"] += safe & self.risky_left
        measures["risky_first"] += risky & self.safe_left
        measures["safe"] += safe
        measures["risky"] += risky
        measures["near"] += self._threat_distance[self.position] <= 2.0
        self.safe_left &= ~safe
        self.risky_left &= ~risky
        rewards = np.where(safe, SAFE_REWARD, np.where(risky, RISKY_REWARD, STEP_REWARD))
        return rewards + self._harm(), ~self.safe_left & ~self.risky_left

    def _harm(self) -> np.ndarray:
        """Rewards `[B]` for being where the agents are."""
        return HARM_REWARD * (self._threat_distance[self.position] < HARM_RADIUS)

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat_distance": self._threat_distance[entered],
            "risky_distance": self._risky_distance[self.position],
            "next_risky_distance": self._risky_distance[entered],
            "risky_left": self.risky_left.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        left = {SAFE: self.safe_left[row], RISKY: self.risky_left[row]}
        return {THREAT: "T", **{cell: "*" for cell, there in left.items() if there}}


class FairConflictVectorEnv(ConflictVectorEnv):
    """A threat that strikes by chance, seldom when it is calm, and everybody sees its temper.

    Description: as in the faithful form, but entering a cell nearer than 1.5 to the threat costs 2
        with probability .1, or .8 where the threat is alert, as in every other episode by chance.
        So the risky reward is worth taking, .8 in the mean, or better left, -.6.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([49, 2, 2, 2])`: the agent's cell, whether the safe reward is left,
        whether the risky one is, and whether the threat is alert. What fear and approach look at
        follows from these.
    Rewards: as in the faithful form, with -2 by chance in place of -.3.
    Termination: both were taken. Truncation: 20 steps.
    Context: as in the faithful form, and `alert`, 1 or 0.
    Measures: as in the faithful form, and `harm`, the number of strikes.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 5; the threat's temper, its price and the time
    limit are our own.
    """

    strike = -2.0
    probabilities = np.array([0.1, 0.8])
    """Of a strike by a calm and by an alert threat."""

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.time_limit = 20
        self.alert = self.per_row(int)
        self.measures["harm"] = self.per_row(float)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, 2, 2, 2]))

    def _begin(self, rows: np.ndarray) -> None:
        super()._begin(rows)
        self.alert[rows] = (self.uniform()[:, 0] < 0.5)[rows]

    def _harm(self) -> np.ndarray:
        near = (self._threat_distance[self.position] < HARM_RADIUS) & ~self.blocked
        struck = near & (self.uniform()[:, 0] < self.probabilities[self.alert])
        self.measures["harm"] += struck
        return self.strike * struck

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.safe_left, self.risky_left, self.alert], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        return {**super()._context(), "alert": self.alert.astype(float)}
