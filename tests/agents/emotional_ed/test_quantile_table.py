"""Tables of quantiles: steps by hand, what they come to, and the worst outcomes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Channel, QConfig, Situation
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import RiskAversion
from erm_gym.agents.emotional_ed.quantile_table import (
    PublishedQuantileLearner,
    QuantileTableLearner,
    worst_mean,
)

Look = Callable[..., Situation]
COUNT = 21
MIDDLES = (np.arange(COUNT) + 0.5) / COUNT


def learn(
    learner: QuantileTableLearner, look: Look, reward: np.ndarray, *, ends: bool = True
) -> None:
    rows = len(reward)
    before, after = look([0] * rows), look([1] * rows)
    every = np.ones(rows, bool)
    learner.act(before)
    learner.observe(before, np.zeros(rows, int), reward, after, every & ends, active=every)


def test_the_worst_outcomes() -> None:
    quantiles = np.tile(np.arange(COUNT, dtype=float)[::-1], (4, 2, 1))  # 20 ... 0
    mean = worst_mean(quantiles, np.array([1.0, 0.5, 0.1, 0.01]))
    # all 21; the lowest int(10.5) = 10; int(2.1) = 2; one at least
    np.testing.assert_allclose(mean, np.outer([10.0, 4.5, 0.5, 0.0], [1.0, 1.0]))


def test_one_step_of_quantile_regression(look: Look) -> None:
    learner = QuantileTableLearner([0], 2, 2, QConfig(learning_rate=0.5))
    learn(learner, look, np.ones(1))
    np.testing.assert_allclose(learner.quantiles[0, 0, 0], 0.5 * MIDDLES)  # none is above 1
    assert learner.table[0, 0, 0] == pytest.approx(0.25)
    learn(learner, look, -np.ones(1))
    np.testing.assert_allclose(learner.quantiles[0, 0, 0], 0.5 * MIDDLES + 0.5 * (MIDDLES - 1.0))


def test_targets_go_on_from_the_best_mean(look: Look) -> None:
    learner = QuantileTableLearner([0], 2, 2, QConfig(learning_rate=1.0, discount=0.5))
    learner.quantiles[0, 1, 1] = 2.0
    learner.table[0, 1, 1] = 2.0
    learner.quantiles[0, 0, 0] = 0.9
    learn(learner, look, np.zeros(1), ends=False)  # targets 0 + .5 * 2, all above .9
    np.testing.assert_allclose(learner.quantiles[0, 0, 0], 0.9 + MIDDLES)


def test_quantiles_come_to_those_of_the_rewards(look: Look) -> None:
    learner = QuantileTableLearner(range(20), 2, 1, QConfig(learning_rate=0.02))
    rewards = np.random.default_rng(0).random((4000, 20))
    for reward in rewards:
        learn(learner, look, reward)
    found = np.sort(learner.quantiles[:, 0, 0], axis=-1).mean(axis=0)
    np.testing.assert_allclose(found, MIDDLES, atol=0.03)


def test_one_step_as_published(look: Look) -> None:
    learner = PublishedQuantileLearner([0], 2, 2, QConfig(learning_rate=0.5))
    learn(learner, look, np.ones(1))
    np.testing.assert_allclose(learner.quantiles[0, 0, 0], 0.5 * MIDDLES)  # error 1
    learner.quantiles[0, 0, 0] = 3.0
    learn(learner, look, np.ones(1))
    np.testing.assert_allclose(learner.quantiles[0, 0, 0], 3.0 - 0.5 * (1.0 - MIDDLES) * 2.0)


def test_fear_prefers_what_is_sure(look: Look) -> None:
    channel = Channel(Constant(np.array([0.0, 1.0])), [RiskAversion(slope=0.9)])
    learner = QuantileTableLearner([0, 1], 1, 2, QConfig(epsilon=0.0), [channel])
    learner.quantiles[:, 0, 0] = np.where(np.arange(COUNT) < 2, -2.0, 1.0)  # .71 in the mean
    learner.quantiles[:, 0, 1] = 0.4
    assert learner.act(look([0, 0])).tolist() == [0, 1]
