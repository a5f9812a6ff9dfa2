"""Constrained learning: the price of harm, by hand and on the slippery cliff."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from erm_gym.agents import AgentError, GymnasiumVecEnv
from erm_gym.agents.lagrangian import CostPenalty, LagrangeMultiplier


def cliff(rows: int = 2) -> VecEnv:
    return GymnasiumVecEnv(gym.make_vec("ErmGym/SlipperyCliff-v1", num_envs=rows))


def fall(env: CostPenalty) -> tuple[float, bool]:
    """The reward of a step, and whether it was a fall."""
    _, rewards, dones, infos = env.step(np.ones(env.num_envs, int))  # to the right, into the cliff
    return float(rewards[0]), bool(dones[0] and infos[0]["measures"]["fell"])


def first_fall(price: float) -> float:
    env = CostPenalty(cliff(1), "fell", price)
    env.seed(0)
    env.reset()
    for _ in range(50):
        reward, fell = fall(env)
        if fell:
            assert env.finished[-1] == 1.0
            return reward
    raise AssertionError("nobody fell")


def test_a_cost_is_taken_off_in_proportion() -> None:
    plain = first_fall(0.0)
    assert first_fall(3.0) == pytest.approx((plain - 3.0) / 4.0)


def test_the_price_rises_above_the_limit_and_falls_below() -> None:
    env = CostPenalty(cliff(), "fell")
    agent = PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu")
    agent.set_logger(configure(None, []))
    callback = LagrangeMultiplier(limit=0.25, rate=2.0)
    callback.init_callback(agent)
    for finished, expected in (([1.0, 0.0], 0.5), ([1.0], 2.0), ([0.0], 1.5), ([], 1.5)):
        env.finished = finished
        callback.on_rollout_end()
        assert env.price == pytest.approx(expected)
    for _ in range(9):
        env.finished = [0.0]
        callback.on_rollout_end()
    assert env.price == 0.0


def test_an_agent_learns_with_a_price() -> None:
    env = CostPenalty(cliff(4), "fell")
    agent = PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=2, device="cpu", seed=0)
    agent.learn(512, callback=LagrangeMultiplier(limit=0.1))
    assert env.price > 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"limit": -1.0}, "limit must be >= 0"), ({"limit": 0.1, "rate": 0.0}, "rate > 0")],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        LagrangeMultiplier(**arguments)


def test_what_is_not_measured_is_an_error() -> None:
    env = CostPenalty(cliff(), "fel")
    env.reset()
    with pytest.raises(AgentError, match=r"does not measure 'fel'.*'fell'"):
        env.step(np.zeros(2, int))
    agent = PPO("MlpPolicy", cliff(), n_steps=8, batch_size=16, device="cpu")
    with pytest.raises(AgentError, match="must be a CostPenalty"):
        agent.learn(16, callback=LagrangeMultiplier(limit=0.1))
