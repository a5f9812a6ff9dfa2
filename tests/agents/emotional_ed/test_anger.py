"""Anger and what it does, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.anger import Anger, repeated_if_blocked
from erm_gym.agents.emotional_ed.anger_agents import angry, push_on
from erm_gym.evaluation.emotional_ed.anger import dulled, frustration

Step = Callable[..., Transition]


def test_frustration_grows_with_blocks_in_a_row_and_near_the_goal(step: Step) -> None:
    anger = Anger(frustration, fading=0.8)
    anger.allocate(2, 1, 4)
    blocked = step(blocked=[1.0, 1.0], goal_distance=[1.0, 0.0])
    anger.feel(blocked)
    np.testing.assert_allclose(anger.level, [0.3 * 1.2 / 2, 0.36])
    anger.feel(blocked)
    np.testing.assert_allclose(anger.level, [0.18 + 0.3 * 1.4 / 2, 0.36 + 0.42])
    anger.feel(blocked)
    assert anger.level[1] == 1.0
    anger.feel(step(blocked=[0.0, 0.0], goal_distance=[1.0, 0.0]))
    np.testing.assert_allclose(anger.level, [0.8 * (0.39 + 0.24), 0.8])
    anger.feel(blocked)  # the count began anew
    assert anger.level[0] == pytest.approx(0.504 + 0.18)


def test_it_outlives_the_episode_unless_it_forgets(step: Step) -> None:
    for forgets, left in ((False, 0.36), (True, 0.0)):
        anger = Anger(frustration, forgets=forgets)
        anger.allocate(1, 1, 4)
        blocked = step(blocked=[1.0], goal_distance=[0.0])
        anger.feel(blocked)
        anger.begin(np.array([True]), blocked.after)
        assert anger.level == pytest.approx([left])


def test_losses_by_a_blocked_move_teach_less(step: Step) -> None:
    transition = step(blocked=[1.0, 1.0, 0.0])
    factor = dulled(np.array([-1.0, 1.0, -1.0]), np.full(3, 0.4), transition)
    np.testing.assert_allclose(factor, [1.2 * 0.8, 1.2, 1.2])


def test_anger_at_a_door_changes_the_choice(step: Step) -> None:
    (channel,) = angry()
    channel.emotion.allocate(2, 1, 4)
    transition = step(blocked=[1.0, 0.0], action=[3, 3])
    for _ in range(3):
        channel.emotion.feel(transition)
    np.testing.assert_allclose(channel.level, [0.9, 0.0])
    values = np.array([[0.0, 1.0, 0.0, 0.2]] * 2)
    biased = channel.influences[0].values(values, channel.level, transition.after)
    np.testing.assert_allclose(biased, [[0.0, 1.0, 0.0, 1.1], [0.0, 1.0, 0.0, 0.2]])
    np.testing.assert_array_equal(repeated_if_blocked(transition.before), np.zeros((2, 4)))


def test_the_rule_pushes_on_until_it_is_in_vain(step: Step) -> None:
    context = {"pushing": [1.0, 1.0, 0.0], "pushes": [0.25, 1.0, 0.25]}
    situation = step(**context, action=[3, 3, 3]).after
    assert push_on(situation, np.zeros((3, 4))) == pytest.approx([3, -1, -1])
