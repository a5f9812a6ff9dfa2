"""Surprise, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.surprise import Surprise, faster
from erm_gym.agents.emotional_ed.surprise_agents import to_what_pays

Step = Callable[..., Transition]


def test_the_published_surprise_looks_at_the_reward_alone(step: Step) -> None:
    surprise, lasting = Surprise(), Surprise(lasting_only=True)
    first = step(value=[0.0, 0.5, 1.0], reward=[1.0, 0.3, -2.0])  # 1, .2 and 3 not expected
    for emotion in (surprise, lasting):
        emotion.allocate(3, 1, 4)
        emotion.feel(first)
        emotion.learned(first, np.full(3, 9.0))
    np.testing.assert_allclose(surprise.level, [0.5, 0.0, 1.0])
    np.testing.assert_allclose(lasting.level, [0.3, 0.0, 0.3])
    for emotion in (surprise, lasting):
        emotion.feel(step(value=[0.0] * 3, reward=[0.4, 0.0, 0.0]))
    np.testing.assert_allclose(surprise.level, [0.6, 0.0, 0.27])
    np.testing.assert_allclose(lasting.level, [0.6, 0.0, 0.27])
    surprise.begin(np.array([True, True, False]), first.after)
    np.testing.assert_allclose(surprise.level, [0.48, 0.0, 0.27])


def test_the_fair_surprise_looks_at_the_error_alone(step: Step) -> None:
    surprise = Surprise(from_error=True)
    surprise.allocate(2, 1, 4)
    seen = step(value=[9.0, 9.0], reward=[0.0, 0.0])
    surprise.feel(seen)
    np.testing.assert_allclose(surprise.level, 0.0)
    surprise.learned(seen, np.array([-1.2, 0.1]))
    np.testing.assert_allclose(surprise.level, [0.6, 0.0])


def test_surprise_learns_up_to_five_times_as_fast(step: Step) -> None:
    factor = faster(np.zeros(3), np.array([0.0, 0.5, 3.0]), step(reward=[0.0] * 3))
    np.testing.assert_allclose(factor, [1.0, 2.0, 5.0])


def test_the_rule_goes_where_it_pays_by_value_among_equals(step: Step) -> None:
    here = step(next_paying_distance=[[3.0, 5.0, 3.0, 5.0], [10.0] * 4]).after
    values = np.array([[0.0, 9.0, 0.5, 0.0]] * 2)
    np.testing.assert_array_equal(to_what_pays(here, values), [2, -1])
