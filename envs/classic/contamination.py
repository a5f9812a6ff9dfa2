"""Contamination: food that is spoilt for who touched something disgusting."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 6
STEP_REWARD, CLEAN_GOAL, SPOILT_GOAL = -0.01, 1.0, 0.5
CLEAN_FOOD, SPOILT_FOOD, CONTACT_REWARD, THREAT_REWARD = 0.4, -0.3, -0.1, -0.5
THREAT, CONTAMINANT = (2, 2), (2, 4)
FOOD: tuple[Cell, ...] = ((1, 1), (1, 5), (4, 2))
FAIR_CONTAMINANTS: tuple[Cell, ...] = ((1, 3), (2, 4), (3, 1), (4, 4))
NEAR = 2.0
"""Distance of a contaminated cell up to which a step counts as near it."""


class ContaminationVectorEnv(GridVectorEnv):
    """A contaminant that spreads, which the agent does not see; the faithful form.

    Description: 6 x 6 cells, start (0, 0), goal (5, 5), threat (2, 2), food at (1, 1), (1, 5) and
        (4, 2), a contaminated cell (2, 4). Who is on a contaminated cell is contaminated until the
        episode ends, and so become the eight cells around.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell; what is eaten, and who and what is contaminated,
        is hidden.
    Rewards: -.01 a step; +1 at the goal, +.5 if contaminated; +.4 for each food, -.3 if
        contaminated; -.1 when the agent is contaminated; -.5 for a step that ends at the threat.
        Best 2.04; 1.7 by a shortest path.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, and `contaminant_distance` of the nearest contaminated cell,
        Euclidean; `next_contaminant_distance` `[B, 4]`, of the cell that each action enters;
        `touched`, 1 if the last step ended on a contaminated cell; `contaminated`, 1 if the agent
        is; `blocked`, 1 if the last move was into the edge.
    Measures: `touches`, steps that end on a contaminated cell; `near`, at most 2 away from one;
        `contaminated`; `food`, eaten clean; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, experiment 9.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("touches", "near", "contaminated", "food", "goal"),
            **options,
        )
        self.goal = (SIZE - 1, SIZE - 1)
        cells = [divmod(number, SIZE) for number in range(SIZE * SIZE)]
        self._between = np.stack([distances([cell], SIZE, SIZE) for cell in cells])  # [S, S]
        self._around = self._between < NEAR  # a cell and the eight around it
        self._food = np.array([self.cell(cell) for cell in FOOD])
        self.spoilt = self.per_row(bool, (SIZE * SIZE,))
        self.contaminated = self.per_row(bool)
        self.touched = self.per_row(bool)
        self.eaten = self.per_row(bool, (len(FOOD),))

    def _begin(self, rows: np.ndarray) -> None:
        self._lay_out(rows, np.full(self.num_envs, self.cell(CONTAMINANT)))

    def _lay_out(self, rows: np.ndarray, contaminant: np.ndarray) -> None:
        self.position[rows] = 0
        self.spoilt[rows] = (np.arange(SIZE * SIZE) == contaminant[:, None])[rows]
        for flags in (self.contaminated, self.touched, self.eaten, self.blocked):
            flags[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        self.touched[:] = self.spoilt[np.arange(self.num_envs), self.position]
        first = self.touched & ~self.contaminated
        self.contaminated |= self.touched
        self.spoilt |= self.touched[:, None] & self._around[self.position]
        eating = (self._food == self.position[:, None]) & ~self.eaten
        self.eaten |= eating
        eats = eating.any(axis=1)
        arrived = self.position == self.cell(self.goal)
        self.measures["touches"] += self.touched
        self.measures["near"] += self._contaminant_distance(self.position) <= NEAR
        self.measures["contaminated"] += first
        self.measures["food"] += eats & ~self.contaminated
        self.measures["goal"] += arrived
        reward = STEP_REWARD + CONTACT_REWARD * first
        reward += THREAT_REWARD * (self.position == self.cell(THREAT))
        reward += eats * np.where(self.contaminated, SPOILT_FOOD, CLEAN_FOOD)
        reward += arrived * np.where(self.contaminated, SPOILT_GOAL, CLEAN_GOAL)
        return reward, arrived

    def _contaminant_distance(self, cells: np.ndarray) -> np.ndarray:
        """Distance of cells `[B]` or `[B, A]` from the nearest contaminated one."""
        spoilt = self.spoilt if cells.ndim == 1 else self.spoilt[:, None]
        found: np.ndarray = np.where(spoilt, self._between[cells], np.inf).min(axis=-1)
        return found

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "threat_distance": self._between[self.cell(THREAT)][self.position],
            "contaminant_distance": self._contaminant_distance(self.position),
            "next_contaminant_distance": self._contaminant_distance(
                self.moves.target[self.position]
            ),
            "touched": self.touched.astype(float),
            "contaminated": self.contaminated.astype(float),
            "blocked": self.blocked.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        spoilt = {divmod(int(cell), SIZE): "x" for cell in np.flatnonzero(self.spoilt[row])}
        food = zip(FOOD, self.eaten[row], strict=True)
        return {
            **spoilt,
            **{cell: "f" for cell, eaten in food if not eaten},
            THREAT: "T",
            self.goal: "G",
        }


class FairContaminationVectorEnv(ContaminationVectorEnv):
    """The same with a contaminant in another place in every episode, which everybody sees.

    Description: as in the faithful form, but the contaminated cell is one of (1, 3), (2, 4), (3, 1)
        and (4, 4), all of them on ways to food or to the goal. A table has to learn each place; who
        keeps away from what is disgusting need not.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([36, 4, 2, 8])`: the agent's cell; which of the four places is
        contaminated; whether the agent is; and the sum of 1, 2 and 4 for the food that is eaten.
    Rewards: as in the faithful form. Termination: the goal. Truncation: 100 steps.
    Context and measures: as in the faithful form.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 9; the places are our own.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, len(FAIR_CONTAMINANTS), 2, 8]))
        self.place = self.per_row(int)
        self._places = np.array([self.cell(cell) for cell in FAIR_CONTAMINANTS])

    def _begin(self, rows: np.ndarray) -> None:
        drawn = (self.uniform()[:, 0] * len(self._places)).astype(np.int64)
        self.place[rows] = drawn[rows]
        self._lay_out(rows, self._places[drawn])

    def _observe(self) -> np.ndarray:
        eaten = self.eaten @ np.array([1, 2, 4])
        return np.stack([self.position, self.place, self.contaminated, eaten], axis=1)
