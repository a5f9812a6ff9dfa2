"""Patience: what a battery asks for, and the way to the charger, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition
from erm_gym.agents.emotional_ed.patience import (
    Patience,
    more_patient_than_not,
    patience,
    step_to_charger,
    towards_charger,
    while_in_reach,
)

Look = Callable[..., Situation]
Step = Callable[..., Transition]


@pytest.mark.parametrize(
    ("battery", "reserve", "expected"),
    [
        (1.0, 50.0, 0.0),
        (0.5, 50.0, 0.2),
        (0.27, 50.0, 0.2),  # 2 * .03 / .3, just below the middle band
        (0.24, 50.0, 0.4),  # 2 * .06 / .3
        (0.15, 50.0, 1.0),
        (0.9, 5.0, 0.0),
        (0.9, 4.0, 0.8),
        (0.1, 4.0, 1.0),
    ],
)
def test_patience(battery: float, reserve: float, expected: float) -> None:
    assert patience(np.array([battery]), np.array([reserve]))[0] == pytest.approx(expected)


def test_it_follows_the_battery(step: Step, look: Look) -> None:
    emotion = Patience()
    emotion.allocate(1, 1, 4)
    emotion.begin(np.ones(1, bool), look([0], battery=[0.4], reserve=[30.0]))
    assert emotion.level[0] == 0.2
    emotion.feel(step(reward=[0.0], battery=[0.1], reserve=[30.0]))
    assert emotion.level[0] == 1.0
    emotion.feel(step(reward=[0.0], battery=[1.0], reserve=[30.0]))
    assert emotion.level[0] == 0.0


def place(look: Look, **changed: list[float]) -> Situation:
    """A charger below and to the right, a waypoint above."""
    context: dict[str, list[float]] = {
        "charger_distance": [3.0],
        "next_charger_distance": [[4.0, 2.0, 4.0, 2.0]],  # type: ignore[list-item]
        "waypoint_distance": [2.0],
        "next_waypoint_distance": [[1.0, 3.0, 3.0, 3.0]],  # type: ignore[list-item]
        "reachable": [1.0],
    }
    return look([0], **(context | changed))


def test_the_way_to_the_charger(look: Look) -> None:
    np.testing.assert_allclose(towards_charger(place(look)), [[0.0, 1.0, 0.0, 0.7]])
    values = np.zeros((1, 4))
    assert step_to_charger(place(look), values)[0] == 1
    on_it = place(look, charger_distance=[0.0], next_charger_distance=[[1.0] * 4])  # type: ignore[list-item]
    assert step_to_charger(on_it, values)[0] == -1


def test_the_rule_goes_on_only_while_it_can_return(look: Look) -> None:
    values = np.zeros((1, 4))
    assert while_in_reach(place(look), values)[0] == 0
    assert while_in_reach(place(look, reachable=[0.0]), values)[0] == 1
    stuck = place(look, reachable=[0.0], charger_distance=[0.0])
    assert while_in_reach(stuck, values)[0] == 0


def test_how_often_it_goes_to_the_charger() -> None:
    np.testing.assert_allclose(more_patient_than_not(np.array([0.2, 0.5, 0.8])), [0.0, 0.0, 0.8])
