"""TwoDoors: a choice again and again, after which both rewards are shown."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces
from PIL import Image

from erm_gym.envs.classic.base import ClassicVectorEnv, VectorOptions

MEAN = 0.5
FAIR_MEANS = (0.3, 0.7)
FAIR_DEVIATION = 0.5
MARGIN = 0.2
"""Difference of the rewards beyond which there is regret, or relief."""
DOOR_PIXELS = 32
DOOR_COLOURS = ((255, 255, 255), (43, 108, 176))
"""Of the other door, and of the one that was chosen last, in pictures."""


class TwoDoorsVectorEnv(ClassicVectorEnv):
    """Two doors with the same mean, so that nothing can be learned; the faithful form.

    Description: one state and two doors. The rewards of a trial are normal with mean .5 and
        variance 1, and correlated; those of other trials say nothing about them.
    Action Space: `Discrete(2)`: the first door, the second door.
    Observation: `Discrete(1)`.
    Rewards: that of the chosen door.
    Termination: none. Truncation: after `trials`.
    Context: `obtained` and `foregone`, the rewards of the last trial's chosen and other door; 0
        before the first.
    Measures: `second`, choices of the second door; `better`, choices of the door that was better in
        the trial; `better_before`, of the one that had been better in the trial before (in the
        first trial: that is better in it), as the original counts by mistake; `regrets` and
        `reliefs`, trials after a difference beyond .2; `regret_switches` and `relief_switches`,
        those of them in which the door was changed.

    Args:
        num_envs: Rows B, >= 1.
        correlation: Of the two rewards, in [-1, 1].
        trials: Of an episode, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 3.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        correlation: float = 0.0,
        trials: int = 100,
        **options: Unpack[VectorOptions],
    ) -> None:
        if not -1.0 <= correlation <= 1.0:
            raise ValueError(f"correlation must be in [-1, 1], got {correlation}")
        if trials < 1:
            raise ValueError(f"trials must be at least 1, got {trials}")
        super().__init__(
            num_envs,
            observation_space=spaces.Discrete(1),
            num_actions=2,
            time_limit=trials,
            measures=(
                "second",
                "better",
                "better_before",
                "regrets",
                "regret_switches",
                "reliefs",
                "relief_switches",
            ),
            **options,
        )
        self.correlation = correlation
        self.chosen = self.per_row(int, fill=-1)
        self.best = self.per_row(int)
        self.obtained = self.per_row(float)
        self.foregone = self.per_row(float)

    def _begin(self, rows: np.ndarray) -> None:
        self.chosen[rows] = -1
        self.obtained[rows] = self.foregone[rows] = 0.0

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards = self._draw()  # [B, 2]
        best = rewards.argmax(axis=1)
        first, switched = self.chosen < 0, actions != self.chosen
        regret = self._difference() < -MARGIN
        relief = self._difference() > MARGIN
        for name, counted in (
            ("second", actions == 1),
            ("better", actions == best),
            ("better_before", actions == np.where(first, best, self.best)),
            ("regrets", regret),
            ("regret_switches", regret & switched),
            ("reliefs", relief),
            ("relief_switches", relief & switched),
        ):
            self.measures[name] += counted
        rows = np.arange(self.num_envs)
        self.chosen[:] = actions
        self.best[:] = best
        self.obtained[:] = rewards[rows, actions]
        self.foregone[:] = rewards[rows, 1 - actions]
        return self.obtained.copy(), np.zeros(self.num_envs, bool)

    def _draw(self) -> np.ndarray:
        """The rewards `[B, 2]` of both doors."""
        normal = _normals(self.uniform(2))
        rest = np.sqrt(1.0 - self.correlation**2)
        second = self.correlation * normal[:, 0] + rest * normal[:, 1]
        return MEAN + np.stack([normal[:, 0], second], axis=1)

    def _difference(self) -> np.ndarray:
        return self.obtained - self.foregone

    def _observe(self) -> np.ndarray:
        return np.zeros(self.num_envs)

    def _context(self) -> dict[str, np.ndarray]:
        return {"obtained": self.obtained.copy(), "foregone": self.foregone.copy()}

    def _ansi(self, row: int) -> str:
        doors = "".join("A" if door == self.chosen[row] else "." for door in (0, 1))
        return f"{doors} {self.obtained[row]:.2f} not {self.foregone[row]:.2f}"

    def _rgb_array(self, row: int) -> np.ndarray:
        image = Image.new("RGB", (5 * DOOR_PIXELS, 3 * DOOR_PIXELS), "#a0a0a0")
        for door in (0, 1):
            colour = DOOR_COLOURS[int(door == self.chosen[row])]
            left = (1 + 2 * door) * DOOR_PIXELS
            image.paste(colour, (left, DOOR_PIXELS, left + DOOR_PIXELS, 2 * DOOR_PIXELS))
        return np.asarray(image)


class FairTwoDoorsVectorEnv(TwoDoorsVectorEnv):
    """Doors of which one is better, until they swap; everybody sees which one was better.

    Description: the means are .3 and .7, the standard deviation is .5. Which door is the good one
        is drawn for every episode, and before every trial the two swap with probability `drift`.
        What was better once may have been luck: to switch at every regret is too often, never to
        switch too seldom.
    Action Space: `Discrete(2)`: the first door, the second door.
    Observation: `MultiDiscrete([3, 3])`: what was chosen last (0 nothing, 1 the first door, 2 the
        second), and whether it brought .2 less than the other (1), .2 more (2), or neither (0).
    Rewards: that of the chosen door. Termination: none. Truncation: 100 trials.
    Context: as in the faithful form.
    Measures: as in the faithful form, and `good`, choices of the door with the better mean.

    Args:
        num_envs: Rows B, >= 1.
        drift: Probability of a swap before a trial, in [0, 1]; 0 keeps the means in an episode.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the fair form of Emotional-ED, experiment 3; deviation and drift are our own.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        drift: float = 0.02,
        **options: Unpack[VectorOptions],
    ) -> None:
        if not 0.0 <= drift <= 1.0:
            raise ValueError(f"drift must be in [0, 1], got {drift}")
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([3, 3]))
        self.drift = drift
        self.good = self.per_row(int)
        self.measures["good"] = self.per_row(float)

    def _begin(self, rows: np.ndarray) -> None:
        super()._begin(rows)
        self.good[rows] = (self.uniform()[:, 0] < 0.5)[rows]

    def _draw(self) -> np.ndarray:
        draws = self.uniform(3)
        self.good ^= draws[:, 2] < self.drift
        means = np.where(np.arange(2) == self.good[:, None], FAIR_MEANS[1], FAIR_MEANS[0])
        return means + FAIR_DEVIATION * _normals(draws[:, :2])

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = super()._advance(actions)
        self.measures["good"] += actions == self.good
        return found

    def _observe(self) -> np.ndarray:
        difference = self._difference()
        felt = np.where(difference < -MARGIN, 1, np.where(difference > MARGIN, 2, 0))
        return np.stack([self.chosen + 1, felt], axis=1)


def _normals(uniform: np.ndarray) -> np.ndarray:
    """Two independent standard normal numbers from two uniform ones, `[B, 2]` each.

    Source: Box & Muller 1958.
    """
    length = np.sqrt(-2.0 * np.log(1.0 - uniform[:, 0]))
    angle = 2.0 * np.pi * uniform[:, 1]
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
