"""Regret of goals, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Choice, Transition
from erm_gym.agents.emotional_ed.goal_regret import (
    GoalRegret,
    RandomWhereRegretted,
    RememberedRegret,
)
from erm_gym.evaluation.emotional_ed.integration import less_from_costs

Step = Callable[..., Transition]


def test_only_a_worse_goal_is_regretted_and_only_at_once(step: Step) -> None:
    regret = GoalRegret()
    regret.allocate(2, 1, 4)
    regret.feel(step(regret=[-0.7, 0.7]))
    np.testing.assert_allclose(regret.level, [0.7, 0.0])
    regret.feel(step(regret=[0.0, 0.0]))
    np.testing.assert_allclose(regret.level, [0.0, 0.0])


def test_regrets_of_a_state_add_up(step: Step) -> None:
    regret = RememberedRegret()
    regret.allocate(3, 5, 4)
    ended = step(regret=[-0.4, -0.7, 0.7], state=[1, 2, 2])
    regret.feel(ended)
    np.testing.assert_allclose(regret.level, [0.0, 0.7, 0.0])
    regret.feel(ended)
    np.testing.assert_allclose(regret.level, [0.8, 1.4, 0.0])
    np.testing.assert_allclose(regret.memory[:, 1], [-0.8, 0.0, 0.0])
    elsewhere = step(regret=[0.0] * 3, state=[3, 3, 3])
    regret.feel(elsewhere)
    np.testing.assert_allclose(regret.level, 0.0)
    regret.begin(np.array([True, False, True]), ended.after)
    np.testing.assert_allclose(regret.level, [0.8, 0.0, 0.0])


def test_a_regretted_state_makes_random(step: Step) -> None:
    choice = Choice(action=np.array([3, 3]), explored=np.zeros(2, bool), values=np.zeros((2, 4)))
    draws: Iterator[np.ndarray] = iter([np.full(2, 0.2), np.full(2, 0.5)])
    situation = step(regret=[0.0, 0.0]).after
    level = np.array([1.0, 0.6])  # probabilities .3 and .18
    found = RandomWhereRegretted().action(choice, level, situation, lambda: next(draws))
    assert found == pytest.approx([2, 3])


def test_anger_learns_less_from_costs(step: Step) -> None:
    transition = step(regret=[0.0] * 3, reward=[-0.01, 1.0, -0.01])
    factor = less_from_costs(np.zeros(3), np.array([0.4, 0.4, 0.3]), transition)
    np.testing.assert_allclose(factor, [0.8, 1.0, 1.0])
