"""Wanting and liking, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.wanting import hooked, liking, savoured, to_salient, wanting
from erm_gym.agents.emotional_ed.wanting_agents import wanting_salience

Step = Callable[..., Transition]
GONE = 99.0


def test_wanting_and_liking_see_other_things(step: Step) -> None:
    there = step(
        wanted_distance=[2.0, GONE],
        liked_distance=[1.0, 1.0],
        regular_distance=[4.0, 3.0],
        satiation=[0.0, 0.5],
        ate_wanted=[0.0, 0.0],
    )
    for emotion, expected in (
        (wanting(), [0.75, 0.7 * 0.75 * 0.9]),
        (liking(), [0.75, 0.75 * 0.7]),
    ):
        emotion.allocate(2, 1, 4)
        emotion.begin(np.array([True, False]), there.before)
        np.testing.assert_allclose(emotion.level, [expected[0], 0.0])
        emotion.feel(there)
        np.testing.assert_allclose(emotion.level, expected)


def test_habits_grow_with_every_wanted_item_and_stay(step: Step) -> None:
    emotion = wanting(habit=1.05)
    emotion.allocate(1, 1, 4)
    near = {"wanted_distance": [GONE], "liked_distance": [0.0], "regular_distance": [GONE]}
    ate = step(**near, satiation=[0.0], ate_wanted=[1.0])
    emotion.feel(ate)
    emotion.feel(ate)
    np.testing.assert_allclose(emotion.level, [0.7 * 1.05**2])
    emotion.feel(step(**near, satiation=[0.0], ate_wanted=[0.0]))
    np.testing.assert_allclose(emotion.level, [0.7 * 1.05**2])
    emotion.begin(np.array([True]), ate.before)
    np.testing.assert_allclose(emotion.baseline, [1.05**2])


def test_what_is_learned_more_from(step: Step) -> None:
    zeros, level = np.zeros(4), np.array([0.4, 0.4, 0.4, 0.0])
    ate = step(ate_wanted=[1.0, 0.0, 1.0, 1.0], reward=[0.9, 0.4, -0.01, 0.9])
    np.testing.assert_allclose(hooked(zeros, level, ate), [1.75, 1.0, 1.75, 1.0])
    np.testing.assert_allclose(savoured(zeros, level, ate), [1.675, 1.0, 1.5, 1.0])


def test_the_fair_agent_goes_for_what_is_salient(step: Step) -> None:
    (channel,) = wanting_salience()
    channel.emotion.allocate(2, 1, 4)
    there = step(
        salient_distance=[5.0, GONE],
        satiation=[0.5, 0.0],
        next_salient_distance=[[4.0, 6.0, 6.0, 4.0], [GONE] * 4],
    )
    channel.emotion.feel(there)
    np.testing.assert_allclose(channel.level, [0.45, 0.0])
    values = np.array([[0.2, 1.0, 0.0, 0.5]] * 2)
    biased = channel.influences[0].values(values, channel.level, there.after)
    np.testing.assert_allclose(biased, [[0.65, 0.55, -0.45, 0.95], values[1]])
    np.testing.assert_array_equal(to_salient(there.after, values), [3, -1])
