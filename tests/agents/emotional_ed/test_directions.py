"""Ways in a grid, worked out by hand."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.directions import OPPOSITE, towards
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP


def test_the_larger_gap_comes_first_and_columns_of_equals() -> None:
    targets = np.array([0, 4, 20, 24, 17, 11, 12, -1])  # from (2, 2) of five columns
    found = towards(np.full(8, 12), targets, 5)
    np.testing.assert_array_equal(found, [UP, UP, DOWN, DOWN, DOWN, LEFT, -1, -1])
    np.testing.assert_array_equal(towards(np.array([5]), np.array([13]), 5), [RIGHT])


def test_opposites() -> None:
    np.testing.assert_array_equal(OPPOSITE[[UP, DOWN, LEFT, RIGHT]], [DOWN, UP, RIGHT, LEFT])
