"""Anxiety: how it rises and falls, and which way it leads, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition
from erm_gym.agents.emotional_ed.anxiety import (
    Anxiety,
    flee,
    flight,
    nearer,
    nearness,
    twice_when_caught,
)

EVERY = np.ones(1, bool)


def situation(distance: float) -> Situation:
    context = {
        "threat_distance": np.array([distance]),
        "next_threat_distance": distance + np.array([[-1.0, 1.0, 0.0, 1.0]]),
    }
    return Situation(state=np.zeros(1, int), context=context, last_action=np.array([-1]))


def step(before: float, after: float) -> Transition:
    zero = np.zeros(1)
    return Transition(
        before=situation(before),
        action=np.zeros(1, int),
        reward=zero,
        after=situation(after),
        terminated=np.zeros(1, bool),
        value=zero,
        active=EVERY,
    )


def test_nearness() -> None:
    np.testing.assert_allclose(nearness(np.array([0.0, 1.0, 2.0, 3.0, 9.0])), [1, 1, 1 / 3, 0, 0])


def test_it_rises_at_once_and_falls_slowly() -> None:
    anxiety = Anxiety()
    anxiety.allocate(1, 1, 4)
    anxiety.begin(EVERY, situation(9.0))
    assert anxiety.level[0] == 0.0
    anxiety.feel(step(9.0, 2.0))
    assert anxiety.level[0] == pytest.approx(1 / 3 + 0.2)
    anxiety.feel(step(2.0, 1.0))
    assert anxiety.level[0] == 1.0  # not 1.2
    anxiety.feel(step(1.0, 2.0))
    assert anxiety.level[0] == pytest.approx(0.8 + 0.2 / 3)
    anxiety.feel(step(2.0, 9.0))
    assert anxiety.level[0] == pytest.approx(0.8 * (0.8 + 0.2 / 3))


def test_flight_prefers_the_most_valuable_of_the_furthest_cells() -> None:
    assert flee(situation(2.0), np.array([[9.0, 1.0, 9.0, 2.0]]))[0] == 3
    assert flee(situation(2.0), np.array([[9.0, 3.0, 9.0, 2.0]]))[0] == 1
    np.testing.assert_array_equal(nearer(situation(2.0)), [[1.0, 0.0, 0.0, 0.0]])


def test_how_often_it_flees() -> None:
    np.testing.assert_allclose(flight(np.array([0.0, 0.5, 0.75, 1.0])), [0.0, 0.0, 0.6, 0.8])


def test_gain() -> None:
    one = np.ones(1)
    assert twice_when_caught(one, one, step(1.0, 0.0))[0] == 2.0
    assert twice_when_caught(one, one, step(2.0, 1.0))[0] == 1.0
    assert twice_when_caught(one, 0 * one, step(1.0, 0.0))[0] == 1.0
