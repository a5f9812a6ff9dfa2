"""Regret of doors, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.forms import Bonus
from erm_gym.agents.emotional_ed.regret import (
    ForegoneLearning,
    Regret,
    RememberedDoors,
    heeded,
    lose_shift,
)

Step = Callable[..., Transition]


def test_what_the_other_door_brings_more_is_regretted(step: Step) -> None:
    regret = Regret()
    regret.allocate(2, 1, 2)
    trial = step(obtained=[0.2, 1.0], foregone=[1.7, 0.5])
    regret.feel(trial)
    np.testing.assert_allclose(regret.level, [1.5, 0.0])
    np.testing.assert_allclose(heeded(np.zeros(2), regret.level, trial), [1.75, 1.0])
    regret.begin(np.array([True, False]), trial.after)
    np.testing.assert_allclose(regret.level, 0.0)


def test_the_other_door_is_learned_with_the_same_future(step: Step) -> None:
    trial = step(
        obtained=[0.2], foregone=[1.0], reward=[0.2], value=[0.5], action=[1], state=[0], after=[0]
    )
    error = np.array([0.6])  # a target of 1.1, of which .2 is the reward and .9 the future
    values = np.array([[0.4, 0.7]])
    taught = ForegoneLearning(0.1).lesson(values, error, np.ones(1), trial)
    np.testing.assert_allclose(taught, [[0.4 + 0.1 * (1.0 + 0.9 - 0.4), 0.7]])
    np.testing.assert_array_equal(values, [[0.4, 0.7]])
    np.testing.assert_array_equal(
        ForegoneLearning(0.1).lesson(values, error, np.zeros(1), trial), values
    )


def test_five_gains_of_a_door_are_remembered(step: Step) -> None:
    doors = RememberedDoors()
    doors.allocate(1, 1, 2)

    def chosen(door: int, gain: float) -> Transition:
        trial = step(obtained=[gain], foregone=[0.0], action=[door])
        doors.feel(trial)
        return trial

    chosen(0, -1.0)
    np.testing.assert_allclose(doors.regret, [[1.0, 0.0]])
    chosen(0, 0.5)
    trial = chosen(1, -0.5)
    np.testing.assert_allclose(doors.regret, [[0.25, 0.5]])
    np.testing.assert_allclose(doors.level, [0.5])
    malus = Bonus(doors.shares, size=-0.3).values(np.zeros((1, 2)), doors.level, trial.after)
    np.testing.assert_allclose(malus, [[-0.075, -0.15]])
    for _ in range(4):
        chosen(0, -0.4)  # the fourth takes the place of the first gain, -1
    np.testing.assert_allclose(doors.regret, [[(1.6 - 0.5) / 5, 0.5]])
    doors.begin(np.ones(1, bool), trial.after)
    np.testing.assert_allclose(doors.level, [0.5])


def test_remembered_doors_can_be_forgotten(step: Step) -> None:
    doors = RememberedDoors(forgets=True)
    doors.allocate(1, 1, 2)
    trial = step(obtained=[-1.0], foregone=[0.0])
    doors.feel(trial)
    doors.begin(np.ones(1, bool), trial.after)
    np.testing.assert_allclose(doors.level, [0.0])
    np.testing.assert_array_equal(doors.shares(trial.after), [[0.0, 0.0]])


def test_the_rule_takes_what_was_better(step: Step) -> None:
    trial = step(obtained=[0.0, 1.0], foregone=[1.0, 0.0], action=[1, 1])
    values = np.zeros((2, 2))
    np.testing.assert_array_equal(lose_shift(trial.after, values), [0, 1])
    np.testing.assert_array_equal(lose_shift(trial.before, values), [-1, -1])
