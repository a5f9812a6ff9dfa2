"""Experiment 18 as published, and the frontier of the fair cliff."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation
from erm_gym.agents.emotional_ed.deep_agents import DEEP_AGENTS
from erm_gym.envs.classic.planning import greedy_policy, optimal_values
from erm_gym.envs.classic.slippery_cliff import FairSlipperyCliffVectorEnv
from erm_gym.evaluation.classic_runs import play
from erm_gym.evaluation.emotional_ed import cliff_frontier, slippery_cliff
from erm_gym.evaluation.emotional_ed.cliff_frontier import Frontier, compare


@pytest.mark.parametrize("make", [slippery_cliff.plain, slippery_cliff.feared])
def test_the_experiment_runs(make: slippery_cliff.Making) -> None:
    scores = slippery_cliff.run([0, 1], make, train=8, evaluate=2)
    assert {metric for _, metric in slippery_cliff.EXPERIMENT.figures} <= set(scores)
    for name, values in scores.items():
        assert values.shape == (2,)
        assert np.isfinite(values).all(), name


class Following:
    """Plays one policy."""

    def __init__(self, policy: np.ndarray) -> None:
        self.policy = policy.argmax(axis=1)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        pass

    def act(self, situation: Situation, **_: object) -> np.ndarray:
        actions: np.ndarray = self.policy[situation.state // 5]
        return actions

    def observe(self, *_: object, **__: object) -> None:
        pass


def test_what_is_worked_out_is_what_episodes_show() -> None:
    env = FairSlipperyCliffVectorEnv()
    policy = greedy_policy(optimal_values(env.model(), 0.99))
    returned, survived = cliff_frontier.value(policy)
    envs = gym.make_vec("ErmGym/SlipperyCliff-v1", num_envs=500, autoreset_mode="Disabled")
    episodes = play(envs, Following(policy), 8, seed=0)
    assert episodes["return"].mean() == pytest.approx(returned, abs=0.6)  # four standard errors
    assert 1.0 - episodes["fell"].mean() == pytest.approx(survived, abs=0.02)


def test_references_are_the_published_ones() -> None:
    known = cliff_frontier.references()
    returned = [known[name][0] for name in ("optimum", "safest")]
    survived = [known[name][1] for name in ("optimum", "safest")]
    assert returned == pytest.approx([-9.77, -11.45], abs=0.005)
    assert survived == pytest.approx([0.907, 0.933], abs=0.0005)
    assert known["random"][0] < -20.0


def test_an_agent_is_worth_something_after_every_kind_of_training() -> None:
    for name in ("dqn", "cvar-feared-dqn"):
        found = cliff_frontier.run(DEEP_AGENTS[name], [0, 1], episodes=8)
        assert all(np.isfinite(column).all() and len(column) == 2 for column in found)
        assert ((found.survived >= 0.0) & (found.survived <= 1.0)).all()


def frontier(returned: np.ndarray, survived: float) -> Frontier:
    return Frontier(returned, np.full(len(returned), survived), returned, returned)


@pytest.mark.parametrize(
    ("gain", "survived", "beats"), [(3.0, 0.9, True), (0.3, 0.9, False), (3.0, 0.89, False)]
)
def test_the_rule(gain: float, survived: float, beats: bool) -> None:
    # What lies between a random policy and the best is some 17, so .05 of it is less than 3.
    other = np.linspace(-14.0, -13.0, 30)
    first, second = frontier(other + gain, survived), frontier(other, 0.9)
    verdict = compare(first, second, np.random.default_rng(0))
    assert verdict.beats is beats
    assert not compare(second, first, np.random.default_rng(0)).beats or survived < 0.9


def test_ppo_with_a_price_on_falling_runs() -> None:
    found = cliff_frontier.run_lagrangian([0, 1], steps=1024)
    assert all(values.shape == (2,) and np.isfinite(values).all() for values in found)
    assert (found.survived_training < 1.0).all()
