"""Moods: how they move, and what they change, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition
from erm_gym.agents.emotional_ed.mood import (
    LastingMood,
    MoodyExploration,
    MoodyRewards,
    TonicMood,
    towards_bonus,
)
from erm_gym.agents.emotional_ed.mood_agents import by_last_event

Look = Callable[..., Situation]
Step = Callable[..., Transition]


def test_the_price_of_steps_spoils_the_published_mood(step: Step) -> None:
    mood = TonicMood()
    mood.allocate(1, 1, 4)
    for _ in range(5):
        mood.feel(step(reward=[-0.01]))
    assert mood.level[0] == 0.0
    mood.feel(step(reward=[-0.01]))  # the sixth in a row
    assert mood.level[0] == pytest.approx(-0.06)
    mood.feel(step(reward=[-0.01]))
    assert mood.level[0] == pytest.approx(-0.95 * 0.06 - 0.07)
    before = mood.level[0]
    mood.feel(step(reward=[0.3]))
    assert mood.level[0] == pytest.approx(0.94 * before)
    for _ in range(2):
        mood.feel(step(reward=[0.3]))
    before = mood.level[0]
    mood.feel(step(reward=[0.3]))  # the fourth in a row
    assert mood.level[0] == pytest.approx(0.95 * before + 0.04)
    for _ in range(40):
        mood.feel(step(reward=[-0.3]))
    assert mood.level[0] == -1.0


def test_a_lasting_mood_moves_with_events_only(step: Step) -> None:
    bad, good = LastingMood(-1.0), LastingMood(1.0)
    expected = ((-1.0, 1 / 3, 0.0), (0.0, 1 / 3, 0.0), (-1.0, 5 / 9, 0.0), (1.0, 1 / 27, 0.0))
    for mood in (bad, good):
        mood.allocate(1, 1, 4)
    for valence, low, high in (*expected, (1.0, 0.0, 25 / 81)):
        for mood in (bad, good):
            mood.feel(step(reward=[-0.01], valence=[valence]))
        assert bad.level[0] == pytest.approx(low)
        assert good.level[0] == pytest.approx(high)


def test_what_mood_changes(step: Step) -> None:
    level = np.array([-1.0, -0.2, 0.0, 0.2, 1.0])
    losses = MoodyRewards().reward(np.full(5, -1.0), level, step(reward=[0.0]))
    np.testing.assert_allclose(losses, [-1.5, -1.0, -1.0, -1.0, -1.0])
    gains = MoodyRewards().reward(np.ones(5), level, step(reward=[0.0]))
    np.testing.assert_allclose(gains, [1.0, 1.0, 1.0, 1.0, 1.3])
    epsilon = MoodyExploration().epsilon(np.full(5, 0.1), level)
    np.testing.assert_allclose(epsilon, [0.15, 0.11, 0.1, 0.11, 0.15])
    assert MoodyExploration().epsilon(np.array([0.4]), np.ones(1))[0] == 0.5


def test_the_rule_goes_by_the_last_event(look: Look) -> None:
    context = {
        "next_middle_distance": [[2.0, 1.0, 2.0, 1.4]],
        "bonus_distance": [2.0],
        "next_bonus_distance": [[3.0, 1.0, 2.0, 1.0]],
    }
    for streak, expected in (
        (-0.5, [0.0, -1.0, 0.0, -1.0]),
        (0.0, [0.0] * 4),
        (1.0, [0.0, 1.0, 0.0, 1.0]),
    ):
        here = look([0], streak=[streak], **context)
        np.testing.assert_array_equal(by_last_event(here), [expected])
    np.testing.assert_array_equal(towards_bonus(here), [[-1.0, 1.0, 0.0, 1.0]])
