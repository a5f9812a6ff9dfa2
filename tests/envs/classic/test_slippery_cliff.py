"""The slippery cliff: its rules, and what planning says about it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from erm_gym.envs.classic.planning import (
    Model,
    expected_return,
    greedy_policy,
    likeliest_policy,
    optimal_values,
    probability_of,
)
from erm_gym.envs.classic.slippery_cliff import (
    FairSlipperyCliffVectorEnv,
    SlipperyCliffVectorEnv,
)

DISCOUNT = 0.99


def returned_and_survived(env: SlipperyCliffVectorEnv, policy: np.ndarray) -> list[float]:
    model, start = env.model(), env.cell((3, 0))
    survived = 1.0 - probability_of(model, policy, start, env.time_limit, env.on_cliff)
    return [expected_return(model, policy, start, env.time_limit), survived]


def at_goal(env: SlipperyCliffVectorEnv) -> np.ndarray:
    return env.model().terminal & ~env.on_cliff


@pytest.mark.parametrize(
    ("env", "value", "returned", "survived"),
    [
        (SlipperyCliffVectorEnv(), -13.10, -12.93, 0.936),
        (FairSlipperyCliffVectorEnv(), -9.80, -9.77, 0.907),
        (FairSlipperyCliffVectorEnv(fall=100.0), -16.23, -16.40, 0.930),
    ],
)
def test_the_optimum_is_the_published_one(
    env: SlipperyCliffVectorEnv, value: float, returned: float, survived: float
) -> None:
    values = optimal_values(env.model(), DISCOUNT)
    assert values[env.cell((3, 0))].max() == pytest.approx(value, abs=0.005)
    found = returned_and_survived(env, greedy_policy(values))
    assert found[0] == pytest.approx(returned, abs=0.005)
    assert found[1] == pytest.approx(survived, abs=0.0005)


@pytest.mark.parametrize(
    ("env", "returned", "survived"),
    [
        (FairSlipperyCliffVectorEnv(), -11.45, 0.933),
        (FairSlipperyCliffVectorEnv(fall=100.0), -16.80, 0.933),
    ],
)
def test_the_safest_policy_is_the_published_one(
    env: SlipperyCliffVectorEnv, returned: float, survived: float
) -> None:
    found = returned_and_survived(env, likeliest_policy(env.model(), at_goal(env)))
    assert found[0] == pytest.approx(returned, abs=0.005)
    assert found[1] == pytest.approx(survived, abs=0.0005)


def test_no_policy_survives_the_faithful_cliff_more_often_than_the_optimum() -> None:
    env = SlipperyCliffVectorEnv()
    _, survived = returned_and_survived(env, likeliest_policy(env.model(), at_goal(env)))
    assert survived == pytest.approx(0.936, abs=0.0005)


def test_planning_by_hand() -> None:
    # From state 0, action 0 pays 1 and ends; action 1 pays nothing, and ends with probability .5.
    transition = np.array([[[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]])
    model = Model(transition, np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([False, True]))
    np.testing.assert_allclose(optimal_values(model, 0.8)[0], [1.0, 0.4])
    waiting = np.array([[0.0, 1.0], [1.0, 0.0]])
    ended = probability_of(model, waiting, 0, 3, model.terminal)
    assert ended == pytest.approx(1 - 0.5**3)
    mixed = np.array([[0.5, 0.5], [1.0, 0.0]])
    # .5 at once; after waiting (.5), one is still there with probability .5.
    assert expected_return(model, mixed, 0, 2) == pytest.approx(0.5 + 0.25 * 0.5)


def test_the_model_is_the_environment() -> None:
    env = gym.make_vec("ErmGym/SlipperyCliff-v1", num_envs=4000, autoreset_mode="Disabled")
    assert isinstance(env, FairSlipperyCliffVectorEnv)
    env.reset(seed=0)
    cell, right = env.cell((2, 10)), 1
    env.position[:] = cell
    _, rewards, terminated, _, infos = env.step(np.full(4000, right))
    model = env.model()
    for entered in range(48):
        share = (env.position == entered).mean()
        assert share == pytest.approx(model.transition[cell, right, entered], abs=0.02)
    assert rewards.mean() == pytest.approx(model.reward[cell, right], abs=0.35)
    np.testing.assert_array_equal(terminated, env.position == env.cell((3, 10)))
    np.testing.assert_array_equal(infos["measures"]["fell"], terminated)
    assert set(rewards) == {-1.0, -20.0}


def test_actions_are_up_right_down_left() -> None:
    env = SlipperyCliffVectorEnv()
    for action, cell in enumerate([(1, 5), (2, 6), (3, 5), (2, 4)]):
        assert env.moves.target[env.cell((2, 5)), action] == env.cell(cell)


def test_what_fear_sees_belongs_to_the_cell() -> None:
    env = FairSlipperyCliffVectorEnv(autoreset_mode=AutoresetMode.DISABLED)
    observations, infos = env.reset(seed=0)
    assert observations.tolist() == [[36, 1]]  # beside the cliff's first cell
    assert infos["context"]["threat_distance"].tolist() == [1.0]
    assert infos["context"]["next_threat_distance"].tolist() == [[2.0, 0.0, 1.0, 1.0]]


def test_a_fall_cannot_pay() -> None:
    with pytest.raises(ValueError, match="fall must be at least 0, got -1"):
        FairSlipperyCliffVectorEnv(fall=-1)
