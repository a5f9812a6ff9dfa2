"""Disgust and its memory, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.disgust import (
    AwayFromRemembered,
    CleanDisgust,
    Disgust,
    HabituatingFear,
    twice_on_contact,
)
from erm_gym.agents.emotional_ed.disgust_agents import disgusted, into_contamination

Step = Callable[..., Transition]


def test_disgust_is_near_remembered_or_worn(step: Step) -> None:
    disgust = Disgust()
    disgust.allocate(3, 9, 4)
    disgust.memory[1, 5] = 1.0
    there = step(
        contaminant_distance=[2.0, 2.0, 3.0],
        contaminated=[0.0, 0.0, 1.0],
        touched=[0.0] * 3,
        state=[5, 5, 5],
    )
    disgust.begin(np.ones(3, bool), there.before)
    np.testing.assert_allclose(disgust.level, [1 / 3, 0.8, 0.5])


@pytest.mark.parametrize(
    ("remembers", "expected"), [("passed", [3, 4]), ("first contact", [])], ids=str
)
def test_what_is_passed_while_contaminated_is_remembered(
    step: Step, remembers: str, expected: list[int]
) -> None:
    disgust = Disgust(remembers)  # type: ignore[arg-type]
    disgust.allocate(1, 9, 4)
    context = {"contaminant_distance": [0.0], "touched": [1.0], "contaminated": [1.0]}
    disgust.feel(step(**context, state=[3], after=[4]))
    disgust.feel(step(**context, state=[4], after=[5]))
    np.testing.assert_array_equal(np.flatnonzero(disgust.memory[0]), expected)


def test_the_cell_of_the_first_contact_is_remembered(step: Step) -> None:
    disgust = Disgust("first contact")
    disgust.allocate(1, 9, 4)
    clean = step(contaminant_distance=[1.0], touched=[0.0], contaminated=[0.0], state=[3])
    dirty = step(contaminant_distance=[0.0], touched=[1.0], contaminated=[1.0], after=[4])
    disgust.feel(
        Transition(
            before=clean.before,
            after=dirty.after,
            action=clean.action,
            reward=clean.reward,
            terminated=clean.terminated,
            value=clean.value,
            active=clean.active,
        )
    )
    np.testing.assert_array_equal(np.flatnonzero(disgust.memory[0]), [4])


def test_away_is_along_the_larger_gap_from_the_nearest_cell(step: Step) -> None:
    disgust = Disgust()
    disgust.allocate(3, 36, 4)
    disgust.memory[:2, [0, 16]] = 1.0  # (0, 0) and (2, 4) of a grid 6 cells wide
    away = AwayFromRemembered(disgust, 6)
    here = step(contaminated=[0.0] * 3, state=[14, 16, 14]).before  # (2, 2), (2, 4), (2, 2)
    np.testing.assert_allclose(away(here), [[0.0, 0.0, 1.0, -0.6], [0.0] * 4, [0.0] * 4])
    above = step(contaminated=[0.0] * 3, state=[4, 34, 4]).before  # (0, 4), (5, 4)
    np.testing.assert_allclose(away(above)[:2], [[1.0, -0.6, 0.0, 0.0], [-0.6, 1.0, 0.0, 0.0]])


def test_fear_wears_off_with_exposure(step: Step) -> None:
    fear = HabituatingFear()
    fear.allocate(2, 9, 4)
    near = step(threat_distance=[1.5, 4.0], contaminant_distance=[2.0, 3.0])
    fear.feel(near)
    np.testing.assert_allclose(fear.level, [0.5, 0.0])
    fear.feel(near)
    np.testing.assert_allclose(fear.level, [0.5 * np.exp(-0.05), 0.0])
    np.testing.assert_array_equal(fear.exposures, [2.0, 0.0])


def test_contact_teaches_twice(step: Step) -> None:
    factor = twice_on_contact(np.zeros(3), np.array([0.8, 0.8, 0.0]), step(touched=[1.0, 0.0, 1.0]))
    np.testing.assert_allclose(factor, [2.0, 1.0, 1.0])


def test_the_fair_agent_keeps_clean_while_it_is(step: Step) -> None:
    (channel,) = disgusted()
    assert isinstance(channel.emotion, CleanDisgust)
    channel.emotion.allocate(2, 1, 4)
    moved = step(
        contaminant_distance=[1.5, 1.5],
        contaminated=[0.0, 1.0],
        next_contaminant_distance=[[0.5, 2.5, 1.5, 1.5]] * 2,
    )
    channel.emotion.feel(moved)
    np.testing.assert_allclose(channel.level, [0.5, 0.0])
    values = np.array([[1.0, 0.5, 0.0, 0.0]] * 2)
    biased = channel.influences[0].values(values, channel.level, moved.after)
    np.testing.assert_allclose(biased, [[0.5, 1.0, 0.0, 0.0], values[1]])


def test_the_rule_touches_nothing_while_clean(step: Step) -> None:
    here = step(
        contaminated=[0.0, 1.0], next_contaminant_distance=[[0.0, 1.0, 2.0, 1.0]] * 2
    ).before
    np.testing.assert_array_equal(into_contamination(here), [[1.0, 0.0, 0.0, 0.0], [0.0] * 4])
