"""A time limit is no end, unless the original took it for one."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation
from erm_gym.evaluation.classic_runs import make_rows, play


class Upwards:
    """Bumps into the edge for ever, and writes down which steps it is told to be the last."""

    def __init__(self) -> None:
        self.ends: list[bool] = []

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Nothing to do."""

    def act(
        self, situation: Situation, *, epsilon: float | None, active: np.ndarray | None
    ) -> np.ndarray:
        """Up."""
        return np.zeros(1, int)

    def observe(
        self,
        before: Situation,
        action: np.ndarray,
        reward: np.ndarray,
        after: Situation,
        terminated: np.ndarray,
        *,
        active: np.ndarray,
        learning: bool,
    ) -> None:
        """Writes down."""
        self.ends.append(bool(terminated[0]))


@pytest.mark.parametrize("limit_ends", [False, True])
def test_what_a_learner_is_told_at_the_limit(limit_ends: bool) -> None:
    learner = Upwards()
    found = play(make_rows("ErmGym/FearGrid-v0", 1), learner, 2, seed=0, limit_ends=limit_ends)
    assert learner.ends == ([False] * 99 + [limit_ends]) * 2
    np.testing.assert_array_equal(found["truncated"], 1.0)
