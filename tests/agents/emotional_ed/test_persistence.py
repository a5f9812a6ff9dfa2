"""The anger of experiment 20, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Choice, Transition
from erm_gym.agents.emotional_ed.anger_agents import persistent
from erm_gym.agents.emotional_ed.persistence import DoorAnger, Persistence

Step = Callable[..., Transition]


def test_the_greater_of_two_angers_is_felt(step: Step) -> None:
    anger = DoorAnger()
    anger.allocate(2, 1, 4)
    wall = {"blocked": [1.0, 1.0], "pushes": [0.0, 0.25]}
    anger.feel(step(**wall))
    np.testing.assert_allclose(anger.level, [0.2, 0.2])  # against .1, and .1 + .075
    anger.feel(step(blocked=[1.0, 1.0], pushes=[0.0, 1.0]))
    np.testing.assert_allclose(anger.level, [0.4, 0.5])  # against .2 + .3
    anger.feel(step(blocked=[0.0, 0.0], pushes=[0.0, 0.0]))
    np.testing.assert_allclose(anger.level, [0.34, 0.34])
    anger.begin(np.array([True, False]), step(**wall).after)
    np.testing.assert_allclose(anger.level, [0.0, 0.34])


def test_the_last_greedy_action_is_repeated_not_a_random_one(step: Step) -> None:
    influence = Persistence()
    level = np.array([1.0, 1.0, 0.2])
    begins = step(blocked=[0.0] * 3, pushing=[0.0] * 3).before
    first = Choice(
        action=np.array([3, 2, 3]), explored=np.array([False, True, False]), values=np.zeros((3, 4))
    )
    zero = np.zeros(3)
    assert influence.action(first, level, begins, lambda: zero) == pytest.approx([3, 2, 3])
    blocked = step(blocked=[1.0] * 3, pushing=[1.0] * 3, action=[3, 2, 3]).after
    bonus = influence.values(np.zeros((3, 4)), level, blocked)
    expected = np.array([[0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(bonus, expected)
    other = Choice(action=np.array([1, 1, 1]), explored=np.zeros(3, bool), values=np.zeros((3, 4)))
    assert influence.action(other, level, blocked, lambda: zero) == pytest.approx([3, 1, 1])
    assert influence.action(other, level, blocked, lambda: zero + 0.6) == pytest.approx([1, 1, 1])


def test_the_fair_agent_pushes_where_a_plain_one_would_not(step: Step) -> None:
    (channel,) = persistent()
    channel.emotion.allocate(1, 1, 4)
    transition = step(blocked=[1.0], pushes=[1.0], action=[3])
    for _ in range(4):
        channel.emotion.feel(transition)
    values = np.array([[0.0, 1.0, 0.0, 0.5]])
    biased = channel.influences[0].values(values, channel.level, transition.after)
    np.testing.assert_allclose(biased, [[0.0, 1.0, 0.0, 1.3]])
