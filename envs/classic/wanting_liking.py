"""WantingLiking: three things to eat, of which the most salient one is not the best one."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 6
STEP_REWARD, EXIT_REWARD = -0.01, 0.5
ITEMS = ("wanted", "liked", "regular")
CELLS: tuple[Cell, ...] = ((2, 5), (5, 2), (3, 3))
PAYOFF = np.array([0.5, 1.0, 0.6])
LOSS = np.array([0.5, 0.2, 0.3])
"""Share of its payoff that an item loses at a satiation of 1."""
FILLING = np.array([0.3, 0.2, 0.25])
"""What an item adds to satiation."""
FAIR_STEP_REWARD = -0.05
TRUTH = 0.75
"""Probability in the fair form that what is salient is worth it."""
NOWHERE = 99.0
"""Distance of an item that is eaten."""


class WantingLikingVectorEnv(GridVectorEnv):
    """Items that nobody but the emotions can tell to be eaten; the faithful form.

    Description: 6 x 6 cells, start (0, 0), exit (5, 5), a wanted item at (2, 5), a liked one at
        (5, 2) and a regular one at (3, 3), each once in an episode.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell; what is eaten, and satiation, is hidden.
    Rewards: -.01 a step, +.5 at the exit, and .5, 1 and .6 for the items, times 1 - c satiation
        with c of .5, .2 and .3; they add .3, .2 and .25 to satiation, which begins at 0. Best 2.29.
    Termination: the exit. Truncation: 100 steps.
    Context: `wanted_distance`, `liked_distance`, `regular_distance`, Euclidean, 99 of what is
        eaten; `satiation`; `ate_wanted`, 1 if the last step did; `blocked`, 1 if the last move was
        into the edge.
    Measures: `wanted`, `liked`, `regular`, 1 if it was eaten; `exit`.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, experiment 10.
    """

    step_reward = STEP_REWARD

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=(*ITEMS, "exit"),
            **options,
        )
        self._cells = np.array([self.cell(cell) for cell in CELLS])
        self._distances = np.stack([distances([cell], SIZE, SIZE) for cell in CELLS], axis=1)
        self.eaten = self.per_row(bool, (len(ITEMS),))
        self.satiation = self.per_row(float)
        self.ate = self.per_row(bool, (len(ITEMS),))

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.satiation[rows] = 0.0
        self.eaten[rows] = self.ate[rows] = False
        self.blocked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        self.ate[:] = (self._cells == self.position[:, None]) & ~self.eaten
        self.eaten |= self.ate
        worth = self._payoff() * (1.0 - LOSS * self.satiation[:, None])  # [B, 3]
        self.satiation += (self.ate * FILLING).sum(axis=1)
        arrived = self.position == self.cell((SIZE - 1, SIZE - 1))
        for item, ate in zip(ITEMS, self.ate.T, strict=True):
            self.measures[item] += ate
        self.measures["exit"] += arrived
        eaten = (self.ate * worth).sum(axis=1)
        return self.step_reward + eaten + EXIT_REWARD * arrived, arrived

    def _payoff(self) -> np.ndarray:
        """What items are worth before satiation, `[3]` or `[B, 3]`."""
        return PAYOFF

    def _context(self) -> dict[str, np.ndarray]:
        away = np.where(self.eaten, NOWHERE, self._distances[self.position])  # [B, 3]
        return {
            **{f"{item}_distance": away[:, i] for i, item in enumerate(ITEMS)},
            "satiation": self.satiation.copy(),
            "ate_wanted": self.ate[:, 0].astype(float),
            "blocked": self.blocked.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        items = zip(CELLS, "WLR", self.eaten[row], strict=True)
        left = {cell: letter for cell, letter, eaten in items if not eaten}
        return {**left, (SIZE - 1, SIZE - 1): "G"}


class FairWantingLikingVectorEnv(WantingLikingVectorEnv):
    """A cue that everybody sees makes one item salient, mostly rightly.

    Description: as in the faithful form, but steps cost more, so that not everything is worth a
        detour. In every episode one of the three items is salient: with probability .75 it pays
        twice as much as usual, otherwise nothing.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([36, 8, 3])`: the agent's cell; the sum of 1, 2, 4 for the items
        that are eaten, on which alone satiation depends; and which item is salient.
    Rewards: as in the faithful form, with -.05 a step.
    Termination: the exit. Truncation: 100 steps.
    Context: as in the faithful form; `salient_distance`, Manhattan, and `next_salient_distance`
        `[B, 4]`, of the cell that each action enters; both are 99 once the salient item is eaten.
    Measures: as in the faithful form; `salient`, 1 if the salient item was eaten.

    Args:
        num_envs: Rows B, >= 1.
        devalued: Whether the wanted item pays nothing, salient or not; to see who goes on.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 10; cost of a step and cue are our own.
    """

    step_reward = FAIR_STEP_REWARD

    def __init__(
        self,
        num_envs: int = 1,
        *,
        devalued: bool = False,
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, 8, len(ITEMS)]))
        self._usual = PAYOFF * np.array([not devalued, True, True])
        self._steps_away = np.stack(
            [distances([cell], SIZE, SIZE, order=1) for cell in CELLS], axis=1
        )
        self.salient = self.per_row(int)
        self.worth_it = self.per_row(bool)
        self.measures["salient"] = self.per_row(float)

    def _begin(self, rows: np.ndarray) -> None:
        super()._begin(rows)
        draws = self.uniform(2)
        self.salient[rows] = (draws[:, 0] * len(ITEMS)).astype(np.int64)[rows]
        self.worth_it[rows] = (draws[:, 1] < TRUTH)[rows]

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = super()._advance(actions)
        self.measures["salient"] += self.ate[np.arange(self.num_envs), self.salient]
        return found

    def _payoff(self) -> np.ndarray:
        salient = self.salient[:, None] == np.arange(len(ITEMS))  # [B, 3]
        return self._usual * np.where(salient, 2.0 * self.worth_it[:, None], 1.0)

    def _observe(self) -> np.ndarray:
        return np.stack([self.position, self.eaten @ np.array([1, 2, 4]), self.salient], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        eaten = self.eaten[np.arange(self.num_envs), self.salient]
        entered = self.moves.target[self.position]  # [B, A]
        here = self._steps_away[self.position, self.salient]
        there = self._steps_away[entered, self.salient[:, None]]
        return {
            **super()._context(),
            "salient_distance": np.where(eaten, NOWHERE, here),
            "next_salient_distance": np.where(eaten[:, None], NOWHERE, there),
        }
