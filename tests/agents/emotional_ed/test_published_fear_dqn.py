"""The fearful deep Q-learner as published: its equations by hand, and its defects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from erm_gym.agents.emotional_ed import Situation
from erm_gym.agents.emotional_ed.deep_q import DeepQConfig
from erm_gym.agents.emotional_ed.published_fear_dqn import PublishedFearLearner, TonicFear

DISTANCE = np.array([0.0, 1.0, 2.0, 5.0])
EVERY = np.array([0])


def at(state: int) -> Situation:
    return Situation(state=np.array([state]), context={}, last_action=np.array([-1]))


def test_fear_by_hand() -> None:
    fear = TonicFear(DISTANCE)
    fear.allocate(1, 4, 4)
    for state, phasic in enumerate([1.0, 1.0, 0.5, 0.0]):
        fear.begin(np.array([True]), at(state))
        assert fear.level.tolist() == [phasic]
    felt = [
        fear.computed(EVERY, np.array([state]), np.array([reward]))[0]
        for state, reward in [(3, -100.0), (3, -1.0), (2, -1.0), (3, -100.0), (3, -100.0)]
    ]
    # Tonic: .5 x .9, x .9, x .9 (phasic .5 is more), (.3645 + .5) x .9, then the cap 1 x .9.
    np.testing.assert_allclose(felt, [0.45, 0.405, 0.5, 0.77805, 0.9])
    fear.begin(np.array([True]), at(3))
    assert fear.level.tolist() == [0.0]


@pytest.mark.parametrize(("tonic", "action"), [(0.0, 1), (0.2, 1), (0.4, 0)])
def test_up_gets_a_bonus_above_the_threshold(tonic: float, action: int) -> None:
    learner = PublishedFearLearner([0], DISTANCE)
    for parameter in learner.parameters:
        parameter.zero_()
    learner.parameters[-1][0, 0] = torch.tensor([0.0, 1.9, 0.0, 0.0])  # 5 x .4 is more
    learner.begin(np.array([True]), at(3))
    learner.fear.level[:] = tonic
    assert learner.act(at(3), epsilon=0.0).tolist() == [action]


def test_random_moves_of_the_fearful_are_up() -> None:
    learner = PublishedFearLearner(range(200), DISTANCE)
    everyone = np.ones(200, bool)
    beside = Situation(state=np.full(200, 1), context={}, last_action=np.full(200, -1))
    learner.begin(everyone, beside)
    assert (learner.act(beside, epsilon=1.0) == 0).all()  # fear is 1
    learner.fear.level[:] = 0.5
    assert 0.15 < (learner.act(beside, epsilon=1.0) == 0).mean() < 0.35


def test_remembered_steps_change_what_is_felt_now() -> None:
    learner = PublishedFearLearner([0], DISTANCE, DeepQConfig(batch_size=2))
    learner.begin(np.array([True]), at(3))
    one = np.array([True])

    def fall() -> None:
        learner.observe(at(3), np.array([1]), np.array([-100.0]), at(0), one, active=one)

    fall()
    assert learner.fear.tonic[0] == pytest.approx(0.45)  # one step is known: no update yet
    learner.begin(one, at(3))
    before = learner.parameters[0].clone()
    fall()
    # .45 from the step itself, and from two remembered falls (.95 x .9) and (1 x .9).
    assert learner.fear.tonic[0] == pytest.approx(0.9)
    assert not torch.equal(learner.parameters[0], before)
