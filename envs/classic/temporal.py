"""Temporal: good times and bad times, which change with a clock and not with what is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv, distances

STEP_REWARD, GOAL_REWARD, BONUS_REWARD, HARM_REWARD = -0.01, 1.0, 0.3, -0.3
SIZE = 6
GOAL = (5, 5)
HARM_RADIUS = 1.5
MIDDLE: Sequence[Cell] = ((2, 2), (1, 2), (2, 3), (3, 2), (3, 3), (4, 3))
"""Threats of the negative phase; the first one is there in the neutral ones, too."""
BONUSES: Sequence[Cell] = ((1, 1), (1, 4), (4, 1))
"""Bonuses of the positive phase; the first one is there in the neutral ones, too."""
THREATS_THERE = np.array([1, 6, 1, 0])
"""How many of the threats there are in the phases neutral, negative, recovery and positive."""
BONUSES_THERE = np.array([1, 0, 1, 3])


class TemporalVectorEnv(GridVectorEnv):
    """Phases by a clock that every reset sets back to the first; the faithful form.

    Description: 6 x 6 cells, start (0, 0), goal (5, 5). Four phases of 50 steps: neutral (a threat
        and a bonus), negative (six threats in the middle), recovery (as neutral) and positive
        (three bonuses), over and over. A threat does harm in cells nearer than 1.5; a bonus is
        there once an episode. The clock begins anew with an episode, which is at most 100 steps
        long: recovery and positive never come.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(36)`, the agent's cell; the phase is hidden.
    Rewards: -.01 a step, +1 more at the goal, +.3 for a bonus, -.3 near a threat.
    Termination: the goal. Truncation: 100 steps.
    Context: `valence`, -1 if the step did harm, 1 if it found a bonus or the goal, else 0;
        `middle_distance`, Euclidean, of the nearest cell where threats can be; and
        `next_middle_distance` `[B, 4]`.
    Measures: `goal`; `harms`; `bonuses`.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: Emotional-ED, experiment 8; where the threats and bonuses are, but for the first of
    each, is our own.
    """

    phase_length = 50
    """Steps of a phase."""

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=100,
            measures=("goal", "harms", "bonuses"),
            **options,
        )
        self.clock = self.per_row(int)
        self.taken = self.per_row(bool, (len(BONUSES),))
        self.valence = self.per_row(float)
        near = [distances(MIDDLE[:count] or [(99, 99)], SIZE, SIZE) for count in THREATS_THERE]
        self._harmful = np.stack(near) < HARM_RADIUS  # [phases, S]
        self._middle_distance = distances(MIDDLE, SIZE, SIZE)
        self._bonus_cells = np.array([self.cell(bonus) for bonus in BONUSES])

    @property
    def phase(self) -> np.ndarray:
        """`[B]`: 0 neutral, 1 negative, 2 recovery, 3 positive."""
        return self.clock // self.phase_length % len(THREATS_THERE)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.clock[rows] = 0
        self.taken[rows] = False
        self.valence[rows] = 0.0

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phase = self.phase
        self.go(actions)
        self.clock += 1
        there = np.arange(len(BONUSES)) < BONUSES_THERE[phase][:, None]  # [B, 3]
        found = there & ~self.taken & (self._bonus_cells == self.position[:, None])
        self.taken |= found
        bonus = found.any(axis=1)
        harmed = self._harmful[phase, self.position]
        arrived = self.position == self.cell(GOAL)
        self.measures["goal"] += arrived
        self.measures["harms"] += harmed
        self.measures["bonuses"] += bonus
        gained = BONUS_REWARD * bonus + HARM_REWARD * harmed + GOAL_REWARD * arrived
        self.valence[:] = np.sign(gained)
        return STEP_REWARD + gained, arrived

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "valence": self.valence.copy(),
            "middle_distance": self._middle_distance[self.position],
            "next_middle_distance": self._middle_distance[self.moves.target[self.position]],
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        phase = self.phase[row]
        threats = dict.fromkeys(MIDDLE[: THREATS_THERE[phase]], "T")
        places = [
            bonus
            for number, bonus in enumerate(BONUSES)
            if number < BONUSES_THERE[phase] and not self.taken[row, number]
        ]
        return {**threats, **dict.fromkeys(places, "*"), GOAL: "G"}


class FairTemporalVectorEnv(TemporalVectorEnv):
    """Phases of 200 steps whose clock goes on from episode to episode.

    Description: as in the faithful form, but every phase is reached, and lasts for some ten
        episodes. Bad times and good times are not announced: what happened last is all there is to
        go by. In bad times the way round by the edge is free of harm, in good times the bonuses
        are worth a detour, and the straight way misses two of the three.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([36, 2, 2, 2, 5])`: the agent's cell, which bonuses were taken, and
        how many of the last events were bad (0 and 1: two or more, one) or good (3 and 4) in a row;
        2 before the first one. A step's cost is no event, nor is the goal.
    Rewards, termination, truncation, measures: as in the faithful form.
    Context: as in the faithful form, with a `valence` of 0 for the goal; `streak`, -1, -.5, 0, .5
        or 1 for the events in a row; `bonus_distance`, Manhattan, of the nearest place of a bonus
        not taken, 0 if there is none; and `next_bonus_distance` `[B, 4]`, from the cell that each
        action enters.

    A reset with a seed sets the clock back.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 8; what is observed is our own.
    """

    phase_length = 200

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.streak = self.per_row(int)
        self.observe_as(spaces.MultiDiscrete([SIZE * SIZE, 2, 2, 2, 5]))
        each = [distances([bonus], SIZE, SIZE, order=1) for bonus in BONUSES]
        self._bonus_distance = np.stack(each, axis=1)  # [S, 3]

    def _forget(self, rows: np.ndarray) -> None:
        self.clock[rows] = self.streak[rows] = 0

    def _begin(self, rows: np.ndarray) -> None:
        clock = self.clock.copy()
        super()._begin(rows)
        self.clock[:] = clock

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards, arrived = super()._advance(actions)
        self.valence[arrived] = 0.0
        event = self.valence.astype(np.int64)
        further = np.clip(self.streak + event, -2, 2)
        turned = self.streak * event < 0
        self.streak[:] = np.where(turned, event, further)
        return rewards, arrived

    def _observe(self) -> np.ndarray:
        streak = self.streak[:, None] + 2
        return np.hstack([self.position[:, None], self.taken.astype(np.int64), streak])

    def _context(self) -> dict[str, np.ndarray]:
        entered = self.moves.target[self.position]  # [B, 4]
        return {
            **super()._context(),
            "streak": self.streak / 2.0,
            "bonus_distance": self._to_bonus(self.position),
            "next_bonus_distance": self._to_bonus(entered),
        }

    def _to_bonus(self, cells: np.ndarray) -> np.ndarray:
        """Distance of cells `[B]` or `[B, 4]` from the nearest place of a bonus not taken."""
        taken = self.taken if cells.ndim == 1 else self.taken[:, None]
        distance = np.where(taken, np.inf, self._bonus_distance[cells]).min(axis=-1)
        return np.where(np.isfinite(distance), distance, 0.0)
