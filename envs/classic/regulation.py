"""Regulation: two things that frighten, of which one does harm and the other one pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

SIZE = 6
STEP_REWARD, GOAL_REWARD, HARM_REWARD = -0.01, 1.0, -0.5
REAL, FAKE, NONE = 0, 1, -1
"""Types of threats."""
OFFSETS = 2
"""Offsets of a threat beyond this look alike in the fair form."""
APART = 3.0
"""Least distance of the two threats of the fair form: only the nearer one can be in reach."""
SHOWN = ("true", "constant", "shuffled")


@dataclass(frozen=True, kw_only=True)
class World:
    """Where the threats are, and what they do."""

    real: Cell = (2, 2)
    """Cell of the threat that does harm."""
    fake: Cell
    """Cell of the threat that pays, once."""
    reach: float
    """Distance below which the real threat does harm."""
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
        step that ends in its reach. The fake one pays when its cell is entered for the first time.
        Version V1: fake threat (2, 4), reach 1.5. Version V2: fake threat (3, 4), and the real one
        reaches no further than its cell.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell; whether the fake threat has paid is hidden.
    Rewards: -.01 a step and 1 more at the goal; -.5 more where harm is done; .5 more when the fake
        threat pays, best 1.4. V2: .4 for the fake threat, and then .3 more at the goal, best 1.6.
    Termination: the goal. Truncation: 100 steps.
    Context: `threat_distance`, Euclidean, of the nearer threat; `next_threat_distance` `[B, 4]`, of
        the cell that each action enters; `type` of the nearer threat, 0 real, 1 fake, real if both
        are as near; `contact`, the same while it is nearer than the reach, else -1.
    Measures: `fake`, 1 if it has paid; `real`, 1 if harm was done; `goal`.

    Args:
        num_envs: Rows B, >= 1.
        version: `V1` or `V2`.
        autoreset_mode: Who begins the next episode, and when.
        render_mode: `ansi`, `rgb_array` or None.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 6.
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
            measures=("fake", "real", "goal"),
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

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.paid[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        harmed = self._between[self.threats[:, REAL], self.position] < self.world.reach
        pays = (self.position == self.threats[:, FAKE]) & ~self.paid
        self.paid |= pays
        arrived = self.position == self.cell(self.goal)
        self.measures["fake"] += pays
        self.measures["real"][harmed] = 1.0
        self.measures["goal"] += arrived
        reward = STEP_REWARD + HARM_REWARD * harmed + self.world.pay * pays
        reward += arrived * (GOAL_REWARD + self.world.bonus * self.paid)
        return reward, arrived

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        each = self._between[self.threats, self.position[:, None]]  # [B, 2]
        following = self._between[self.threats[:, :, None], entered[:, None]]  # [B, 2, 4]
        kind, distance = each.argmin(axis=1), each.min(axis=1)
        return {
            "threat_distance": distance,
            "next_threat_distance": following.min(axis=1),
            "type": kind.astype(float),
            "contact": np.where(distance < self.world.reach, kind, NONE).astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        real, fake = (divmod(int(cell), SIZE) for cell in self.threats[row])
        return {fake: "F", real: "T", self.goal: "G"}
