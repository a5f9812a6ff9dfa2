"""VisualTransfer: threats that look alike on two maps, or objects of two colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 8
STEP_REWARD, GOAL_REWARD, HIT_REWARD = -0.01, 10.0, -10.0
MAPS: Mapping[str, Sequence[Cell]] = {
    "A": ((2, 3), (3, 3), (4, 4), (5, 2), (3, 5)),
    "B": ((1, 4), (3, 2), (4, 5), (5, 3), (2, 6)),
}
"""Cells of the threats."""
OBJECTS = 16
"""Coloured objects of the fair form."""
NOTHING, EDGE, RED, BLUE = range(4)


class VisualTransferVectorEnv(GridVectorEnv):
    """Five threats on one of two maps, which the agent's cell does not show; the faithful form.

    Description: 8 x 8 cells, start (0, 0), goal (7, 7), five threats that end nothing. The best
        return is 9.87.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(64)`, the agent's cell.
    Rewards: -.01 a step; +10 at the goal and -10 on a threat, in its place.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Manhattan, of the nearest threat; `next_threat` `[B, 4]`, 1 for
        actions that enter a threat's cell; `hit`, 1 if the last step did.
    Measures: `hits`; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        threats: `A` or `B`, the map.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 21.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        threats: str = "A",
        **options: Unpack[VectorOptions],
    ) -> None:
        if threats not in MAPS:
            raise ValueError(f"threats must be one of {list(MAPS)}, got {threats!r}")
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("hits", "goal"),
            **options,
        )
        self.goal = (SIZE - 1, SIZE - 1)
        self.threats = MAPS[threats]
        self._threat_distance = distances(self.threats, SIZE, SIZE, order=1)
        self.hit = self.per_row(bool)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.hit[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        self.hit[:] = self._threat_distance[self.position] == 0.0
        self.measures["hits"] += self.hit
        self.measures["goal"] += arrived
        rewards = np.where(self.hit, HIT_REWARD, np.where(arrived, GOAL_REWARD, STEP_REWARD))
        return rewards, arrived

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            "threat_distance": self._threat_distance[self.position],
            "next_threat": (self._threat_distance[entered] == 0.0).astype(float),
            "hit": self.hit.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {**dict.fromkeys(self.threats, "T"), self.goal: "G"}


class FairVisualTransferVectorEnv(GridVectorEnv):
    """Objects of two colours in new cells each episode; one colour hurts, and nobody knows which.

    Description: 8 x 8 cells, start (0, 0), goal (7, 7), 16 objects in random other cells, each red
        or blue. In half of the episodes red ones hurt, in the others blue ones. What is learned of
        one object holds for all of its colour, until the episode ends.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([4, 4, 4, 4, 2, 2, 3])`: what each action enters (0 nothing, 1 the
        edge, 2 red, 3 blue); whether the goal is further down, and to the right; and which colour
        is known to hurt: none yet (0), red (1) or blue (2). A colour is known after the first
        object that was entered, whether it hurt or not.
    Rewards: -.01 a step, +10 at the goal in its place; -2 on an object that hurts, added.
    Termination: the goal. Truncation: 100 steps.
    Context: `next_colour` `[B, 4]`, 1 for actions that enter a red cell, -1 for a blue one, else 0;
        `colour` of the cell that was entered, likewise; `hit`, 1 if the last step hurt.
    Measures: `hits`; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 21; sizes and numbers are our own.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            observation_space=spaces.MultiDiscrete([4, 4, 4, 4, 2, 2, 3]),
            measures=("hits", "goal"),
            **options,
        )
        self.goal = (SIZE - 1, SIZE - 1)
        self.colours = self.per_row(int, (SIZE * SIZE,))  # 1 red, -1 blue, 0 nothing
        self.hurting = self.per_row(int)  # the colour that hurts
        self.known = self.per_row(bool)
        self.hit = self.per_row(bool)
        self._row_numbers = np.arange(num_envs)
        self._free = np.arange(1, SIZE * SIZE - 1)  # neither start nor goal

    def _begin(self, rows: np.ndarray) -> None:
        draws = self.uniform(1 + len(self._free))
        self.position[rows] = 0
        self.hurting[rows] = np.where(draws[rows, 0] < 0.5, 1, -1)
        order = draws[rows, 1:].argsort(axis=1)
        taken = self._free[order[:, :OBJECTS]]  # [R, 16]
        colours = np.zeros((len(taken), SIZE * SIZE), int)
        paint = np.where(np.arange(OBJECTS) % 2 == 0, 1, -1)
        np.put_along_axis(colours, taken, np.broadcast_to(paint, taken.shape), axis=1)
        self.colours[rows] = colours
        self.known[rows] = False
        self.hit[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        arrived = self.position == self.cell(self.goal)
        entered = np.where(self.blocked, 0, self.colours[self._row_numbers, self.position])
        self.hit[:] = (entered != 0) & (entered == self.hurting)
        self.known |= entered != 0
        self.measures["hits"] += self.hit
        self.measures["goal"] += arrived
        return np.where(arrived, GOAL_REWARD, STEP_REWARD) - 2.0 * self.hit, arrived

    def _next_colours(self) -> np.ndarray:
        """Colour `[B, 4]` of the cells that the actions enter; 0 at the edge, too."""
        entered = self.moves.target[self.position]
        colours = np.take_along_axis(self.colours, entered, axis=1)
        return np.where(self.moves.blocked[self.position], 0, colours)

    def _observe(self) -> np.ndarray:
        colours = self._next_colours()
        around = np.where(self.moves.blocked[self.position], EDGE, NOTHING)
        around = np.where(colours == 1, RED, np.where(colours == -1, BLUE, around))
        row, column = np.divmod(self.position, SIZE)
        further = np.stack([row < SIZE - 1, column < SIZE - 1], axis=1)
        known = np.where(self.known, np.where(self.hurting == 1, 1, 2), 0)
        return np.hstack([around, further, known[:, None]])

    def _context(self) -> dict[str, np.ndarray]:
        entered = np.where(self.blocked, 0, self.colours[self._row_numbers, self.position])
        return {
            "next_colour": self._next_colours().astype(float),
            "colour": entered.astype(float),
            "hit": self.hit.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        letters = {1: "r", -1: "b"}
        return {
            divmod(cell, SIZE): letters[int(colour)]
            for cell, colour in enumerate(self.colours[row])
            if colour
        } | {self.goal: "G"}
