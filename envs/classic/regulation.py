"""Regulation: two things that frighten, of which one does harm and the other one pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances
from erm_gym.envs.classic.offsets import offsets

SIZE = 6
STEP_REWARD, GOAL_REWARD, HARM_REWARD = -0.01, 1.0, -0.5
REAL, FAKE, NONE = 0, 1, -1
"""Types of threats."""
OFFSETS = 2
"""Offsets of a threat beyond this look alike in the fair form."""
Shown = Literal["true", "constant", "shuffled"]


@dataclass(frozen=True, kw_only=True)
class World:
    """Where the threats are, and what they do."""

    real: Cell = (2, 2)
    """Cell of the threat that does harm."""
    fake: Cell
    """Cell of the threat that pays, once."""
    reach: float
    """Distance below which the real threat does harm, and the fake one pays."""
    pay: float
    """Reward of the fake threat."""
    bonus: float
    """Reward at the goal, besides its own, for who has the fake threat's."""


WORLDS: Mapping[str, World] = {
    "V1": World(fake=(2, 4), reach=1.5, pay=0.5, bonus=0.0),
    "V2": World(fake=(3, 4), reach=0.5, pay=0.4, bonus=0.3),
}
"""The two versions of the original."""


class RegulationVectorEnv(GridVectorEnv):
    """A real and a fake threat, which the agent's cell does not show; the faithful form.

    Description: 6 x 6 cells, start (0, 0), goal (5, 5). The real threat, (2, 2), does harm in every
        step that ends in its reach; the fake one pays in the first such step. Version V1: fake
        threat (2, 4), a reach of 1.5. Version V2: fake threat (3, 4), and both reach no further
        than their own cells.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell; whether the fake threat has paid is hidden.
    Rewards: -.01 a step and 1 more at the goal; -.5 more where harm is done; .5 more when the fake
        threat pays, best 1.4. V2: .4 for the fake threat, and then .3 more at the goal, best 1.6.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean, of the nearer threat; `next_threat_distance` `[B, 4]`, of
        the same one, from the cell that each action enters; `type` of it, 0 real, 1 fake, the real
        one if both are as near; `contact`, the type of the threat in whose reach the last step
        ended, likewise, -1 for none.
    Measures: `fake`, 1 if it has paid; `real`, 1 if the real threat's cell was entered; `harm`,
        steps in its reach; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        version: `V1` or `V2`.
        autoreset_mode: Who begins the next episode, and when.
        render_mode: `ansi`, `rgb_array` or None.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 6; that the fake threat pays from as far as the real one
    strikes is our reading.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        version: str = "V1",
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        if version not in WORLDS:
            raise ValueError(f"version must be one of {list(WORLDS)}, got {version!r}")
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("fake", "real", "harm", "goal"),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )
        self.world = WORLDS[version]
        self.goal = (SIZE - 1, SIZE - 1)
        cells = [divmod(cell, SIZE) for cell in range(SIZE * SIZE)]
        self._between = np.stack([distances([cell], SIZE, SIZE) for cell in cells])  # [S, S]
        self.threats = self.per_row(int, (2,))  # cells of the real and of the fake one
        self.threats[:] = self.cell(self.world.real), self.cell(self.world.fake)
        self.paid = self.per_row(bool)
        self.contact = self.per_row(int, fill=NONE)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.paid[rows] = False
        self.contact[rows] = NONE

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        near = self._distances() < self.world.reach  # [B, 2]
        harmed, pays = near[:, REAL], near[:, FAKE] & ~self.paid
        kind, distance, _ = self._nearer()
        self.contact[:] = np.where(distance < self.world.reach, kind, NONE)
        self.paid |= pays
        arrived = self.position == self.cell(self.goal)
        self.measures["fake"] += pays
        self.measures["real"][self.position == self.threats[:, REAL]] = 1.0
        self.measures["harm"] += harmed
        self.measures["goal"] += arrived
        reward = STEP_REWARD + HARM_REWARD * harmed + self.world.pay * pays
        return reward + arrived * (GOAL_REWARD + self.world.bonus * self.paid), arrived

    def _distances(self) -> np.ndarray:
        """Distance `[B, 2]` of the real and of the fake threat."""
        found: np.ndarray = self._between[self.threats, self.position[:, None]]
        return found

    def _nearer(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Type, distance and cell `[B]` of the nearer threat."""
        each = self._distances()
        kind = each.argmin(axis=1)
        rows = np.arange(self.num_envs)
        return kind, each[rows, kind], self.threats[rows, kind]

    def _context(self) -> dict[str, np.ndarray]:
        kind, distance, threat = self._nearer()
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            "threat_distance": distance,
            "next_threat_distance": self._between[threat[:, None], entered],
            "type": kind.astype(float),
            "contact": self.contact.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        real, fake = (divmod(int(cell), SIZE) for cell in self.threats[row])
        return {fake: "F", real: "T", self.goal: "G"}


class FairRegulationVectorEnv(RegulationVectorEnv):
    """Both threats in other places each episode, which everybody sees with their types.

    Description: as version V1 of the faithful form, but the threats' cells are drawn each episode,
        further than 1.5 from start and goal and 3 or more from each other, so that one at most is
        in reach. The fake threat is gone when it has paid. What a type means never changes, and
        nobody is told.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([5, 5, 2, 2, 2])`: rows down and columns right to the nearer threat,
        each cut to -2 ... 2; its type as it looks, 0 or 1; and whether the goal is further down,
        and to the right. What fear looks at follows from these, and the belief from what happened.
    Rewards, termination, truncation, measures: as in the faithful form.
    Context: as in the faithful form, of the threats that are left; `type` and `contact` as they
        look.

    Args:
        num_envs: Rows B, >= 1.
        shown: How threats look: `true`; `constant`, all of them real; or `shuffled`, by chance,
            which says nothing.
        autoreset_mode: Who begins the next episode, and when.
        render_mode: `ansi`, `rgb_array` or None.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 6; places, cuts and what is gone are our own.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        shown: Shown = "true",
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        if shown not in get_args(Shown):
            raise ValueError(f"shown must be one of {get_args(Shown)}, got {shown!r}")
        super().__init__(num_envs, autoreset_mode=autoreset_mode, render_mode=render_mode)
        self.observe_as(spaces.MultiDiscrete([2 * OFFSETS + 1] * 2 + [2] * 3))
        ends = self._between[[0, self.cell(self.goal)]].min(axis=0)
        allowed = ends > self.world.reach
        apart = self._between >= 2.0 * self.world.reach
        self.places = np.argwhere(apart & allowed & allowed[:, None])  # [P, 2], real and fake
        self.shown = shown
        self.looks = self.per_row(int, (2,))  # the types that the two seem to be of
        self.looks[:] = (REAL, REAL) if shown == "constant" else (REAL, FAKE)

    def _begin(self, rows: np.ndarray) -> None:
        draws = self.uniform(3)
        place = (draws[:, 0] * len(self.places)).astype(np.int64)
        self.threats[rows] = self.places[place][rows]
        if self.shown == "shuffled":
            self.looks[rows] = (draws[:, 1:] < 0.5)[rows]
        super()._begin(rows)

    def _distances(self) -> np.ndarray:
        each = super()._distances()
        each[self.paid, FAKE] = np.inf
        return each

    def _looks(self, kind: np.ndarray) -> np.ndarray:
        """What threats of the types `[B]` look like; -1 for none."""
        seen = self.looks[np.arange(self.num_envs), np.maximum(kind, REAL)]
        return np.where(kind == NONE, NONE, seen)

    def _context(self) -> dict[str, np.ndarray]:
        kind, _, _ = self._nearer()
        looks = {"type": self._looks(kind), "contact": self._looks(self.contact)}
        return {**super()._context(), **{name: each.astype(float) for name, each in looks.items()}}

    def _observe(self) -> np.ndarray:
        kind, _, threat = self._nearer()
        row, column = np.divmod(self.position, SIZE)
        away = np.clip(offsets(self.position, threat, SIZE), -OFFSETS, OFFSETS) + OFFSETS
        further = np.stack([row < SIZE - 1, column < SIZE - 1], axis=1)
        return np.hstack([away, self._looks(kind)[:, None], further])

    def _symbols(self, row: int) -> dict[Cell, str]:
        real, fake = (divmod(int(cell), SIZE) for cell in self.threats[row])
        left = {} if self.paid[row] else {fake: "F"}
        return {**left, real: "T", self.goal: "G"}
