"""Regulation: two things that frighten, of which one does harm and the other one pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, Unpack, get_args

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 6
STEP_REWARD, GOAL_REWARD, HARM_REWARD = -0.01, 1.0, -0.5
REAL, FAKE, NONE = 0, 1, -1
"""Types of threats."""
PLACES: tuple[Cell, ...] = ((1, 2), (1, 5), (4, 0), (4, 3))
"""Where threats of the fair form can be; so far apart that one at most is in reach."""
FAR = 2.0 * SIZE
"""Distance of a threat that is gone; further than any cell."""
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
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

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
        **options: Unpack[VectorOptions],
    ) -> None:
        if version not in WORLDS:
            raise ValueError(f"version must be one of {list(WORLDS)}, got {version!r}")
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("fake", "real", "harm", "goal"),
            **options,
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

    Description: as version V1 of the faithful form, but the two threats stand in two of the places
        (1, 2), (1, 5), (4, 0) and (4, 3), in others each episode; one at most is in reach. A threat
        is gone when it has struck or paid. What a type means never changes, and nobody is told.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([36, 3, 3, 3, 3])`: the agent's cell, and what each place holds: 0
        nothing, 1 a threat that looks real, 2 one that looks fake. What fear looks at follows from
        these, and the belief from what happened.
    Rewards, termination, truncation, measures: as in the faithful form.
    Context: as in the faithful form, of the threats that are left; distances of 12 where none is.
        `type` and `contact` are as they look, -1 for none.

    Args:
        num_envs: Rows B, >= 1.
        shown: How threats look: `true`; `constant`, all of them real; or `shuffled`, by chance,
            which says nothing.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 6; places and what is gone are our own.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        shown: Shown = "true",
        **options: Unpack[VectorOptions],
    ) -> None:
        if shown not in get_args(Shown):
            raise ValueError(f"shown must be one of {get_args(Shown)}, got {shown!r}")
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE] + [3] * len(PLACES)))
        self._places = np.array([self.cell(cell) for cell in PLACES])
        self._pairs = np.array(list(permutations(self._places, 2)))  # [12, 2], real and fake
        self.shown = shown
        self.looks = self.per_row(int, (2,))  # the types that the two seem to be of
        self.looks[:] = (REAL, REAL) if shown == "constant" else (REAL, FAKE)
        self.gone = self.per_row(bool, (2,))

    def _begin(self, rows: np.ndarray) -> None:
        draws = self.uniform(3)
        drawn = (draws[:, 0] * len(self._pairs)).astype(np.int64)
        self.threats[rows] = self._pairs[drawn][rows]
        if self.shown == "shuffled":
            self.looks[rows] = (draws[:, 1:] < 0.5)[rows]
        self.gone[rows] = False
        super()._begin(rows)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards, arrived = super()._advance(actions)
        self.gone |= self._distances() < self.world.reach
        return rewards, arrived

    def _distances(self) -> np.ndarray:
        return np.where(self.gone, FAR, super()._distances())

    def _context(self) -> dict[str, np.ndarray]:
        context = super()._context()
        none = self.gone.all(axis=1)
        context["next_threat_distance"][none] = FAR
        kind, _, _ = self._nearer()
        seen = {"type": np.where(none, NONE, kind), "contact": self.contact}
        for name, each in seen.items():
            looks = self.looks[np.arange(self.num_envs), np.maximum(each, REAL)]
            context[name] = np.where(each == NONE, NONE, looks).astype(float)
        return context

    def _observe(self) -> np.ndarray:
        there = (self._places == self.threats[:, :, None]) & ~self.gone[:, :, None]  # [B, 2, 4]
        held = (there * (1 + self.looks[:, :, None])).sum(axis=1)
        return np.hstack([self.position[:, None], held])

    def _symbols(self, row: int) -> dict[Cell, str]:
        symbols = zip("TF", self.threats[row], self.gone[row], strict=True)
        there = {divmod(int(cell), SIZE): symbol for symbol, cell, gone in symbols if not gone}
        return {**there, self.goal: "G"}
