"""The six forms, each on its own, with numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from erm_gym.agents.emotional_ed import Choice, Influence, Situation, Transition
from erm_gym.agents.emotional_ed.forms import (
    Bonus,
    Exploration,
    LearningGain,
    Override,
    RankPreserving,
    RankReversing,
    ScaledBest,
)

Look = Callable[..., Situation]
HALF = np.array([0.5])
NOBODY = Situation(state=np.array([0]), context={}, last_action=np.array([-1]))
Q = np.array([[1.0, 2.0, 5.0]])
finite = st.floats(-100, 100, allow_subnormal=False)


def test_form_a() -> None:
    # (Q - 1) / 4 = 0, .25, 1; half of it is added
    found = RankPreserving().values(Q, HALF, NOBODY)
    np.testing.assert_allclose(found, [[1.0, 2.125, 5.5]])


@given(arrays(float, (1, 4), elements=finite), st.floats(0, 10))
def test_form_a_never_changes_the_greedy_action(values: np.ndarray, level: float) -> None:
    found = RankPreserving().values(values, np.array([level]), NOBODY)
    best = values.argmax(axis=1)[0]
    assert found[0, best] == found.max()


@pytest.mark.parametrize(
    ("level", "expected"),
    [(3.0, [1.0, 1.25, 2.0]), (4.0, [1.0, 1.0, 1.0]), (8.0, [1.0, 0.0, -3.0])],
)
def test_form_b_turns_the_ranking_round_beyond_the_spread(
    level: float, expected: list[float]
) -> None:
    found = RankReversing().values(Q, np.array([level]), NOBODY)
    np.testing.assert_allclose(found, [expected])


def test_form_c_does_nothing_to_a_positive_best_and_demotes_a_negative_one() -> None:
    scaled = ScaledBest(factor=2.0)
    np.testing.assert_allclose(scaled.values(Q, HALF, NOBODY), [[1.0, 2.0, 10.0]])
    below = np.array([[-3.0, -1.0, -1.5]])
    found = scaled.values(below, HALF, NOBODY)
    np.testing.assert_allclose(found, [[-3.0, -2.0, -1.5]])
    assert found.argmax() == 2
    assert below.argmax() == 1
    np.testing.assert_array_equal(ScaledBest(threshold=0.5).values(Q, HALF, NOBODY), Q)


def test_form_d_adds_in_a_direction() -> None:
    def direction(situation: Situation) -> np.ndarray:
        return np.array([[1.0, -1.0, 0.0]])

    found = Bonus(direction, size=4.0).values(Q, HALF, NOBODY)
    np.testing.assert_allclose(found, [[3.0, 0.0, 5.0]])
    # relative: a size of 4 times the spread of 4, times one half
    found = Bonus(direction, size=4.0, relative=True).values(Q, HALF, NOBODY)
    np.testing.assert_allclose(found, [[9.0, -6.0, 5.0]])
    found = Bonus(direction, threshold=0.5).values(Q, HALF, NOBODY)
    np.testing.assert_array_equal(found, Q)


def test_form_e_overrides() -> None:
    def rule(situation: Situation, values: np.ndarray) -> np.ndarray:
        return np.array([2, 2, -1, 2])

    choice = Choice(
        action=np.array([0, 0, 0, 0]),
        explored=np.array([True, True, True, False]),
        values=np.zeros((4, 3)),
    )
    level = np.array([0.5, 0.5, 0.5, 0.5])

    def draw() -> np.ndarray:
        return np.array([0.49, 0.51, 0.0, 0.0])

    override = Override(rule, probability=lambda level: level)
    assert override.action(choice, level, NOBODY, draw).tolist() == [2, 0, 0, 2]
    override = Override(rule, probability=lambda level: level, only_explored=True)
    assert override.action(choice, level, NOBODY, draw).tolist() == [2, 0, 0, 0]


def test_form_x_explores() -> None:
    epsilon = np.array([0.2, 0.2, 0.2])
    level = np.array([0.3, 0.4, 2.0])
    found = Exploration(slope=0.5, ceiling=0.5, threshold=0.3).epsilon(epsilon, level)
    np.testing.assert_allclose(found, [0.2, 0.4, 0.5])
    np.testing.assert_allclose(Exploration(slope=-1.0).epsilon(epsilon, level), [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "influence",
    [
        RankPreserving(),
        RankReversing(),
        ScaledBest(),
        Bonus(lambda situation: np.ones((1, 3))),
        Exploration(slope=1.0),
        LearningGain(lambda error, level, transition: 1.0 + level),
    ],
    ids=lambda influence: type(influence).__name__,
)
def test_nothing_changes_where_nothing_is_felt(
    influence: Influence, step: Callable[..., Transition]
) -> None:
    nothing = np.zeros(1)
    np.testing.assert_array_equal(influence.values(Q, nothing, NOBODY), Q)
    assert influence.epsilon(HALF, nothing) == HALF
    assert influence.gain(HALF, nothing, step(reward=[0.0])) == 1.0
