"""Seasons: what pays, when it swaps, and what is known of it."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP
from erm_gym.envs.classic.seasons import FairSeasonsVectorEnv, SeasonsVectorEnv

TO_RED = [UP, UP, LEFT, LEFT]
TO_BLUE = [DOWN, DOWN, LEFT, LEFT]


def total(env: SeasonsVectorEnv, actions: list[int]) -> float:
    return sum(float(env.step([action])[1][0]) for action in actions)


def test_red_pays_and_blue_costs_once() -> None:
    env = SeasonsVectorEnv()
    env.reset(seed=0)
    assert total(env, TO_RED) == pytest.approx(0.96)
    assert total(env, [RIGHT, LEFT]) == pytest.approx(-0.02)  # it is gone
    assert total(env, [DOWN] * 4) == pytest.approx(-1.04)
    assert total(env, [RIGHT] * 4) == pytest.approx(-1.04)
    *_, terminated, truncated, _ = env.step([UP])
    assert not terminated[0]
    assert not truncated[0]
    assert total(env, [UP] * 2) == pytest.approx(-0.02)
    *_, reward, terminated, _, infos = env.step([UP])
    assert reward[0] == pytest.approx(0.99)
    assert terminated[0]
    measures = infos["final_info"]["measures"]
    assert (measures["paid"][0], measures["cost"][0]) == (2.0, 2.0)


def test_colours_swap_after_a_hundred_episodes_and_a_seed_begins_anew() -> None:
    env = SeasonsVectorEnv(2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    for _ in range(99):
        env.reset(options={"reset_mask": np.array([True, False])})
    assert env.red_pays.tolist() == [True, True]
    env.reset()
    assert env.red_pays.tolist() == [False, True]
    assert total(env, []) == 0.0
    rewards = [env.step([action] * 2)[1] for action in TO_RED]
    np.testing.assert_allclose(np.sum(rewards, axis=0), [-1.04, 0.96])
    env.reset(seed=[5, None])
    assert env.red_pays.tolist() == [True, True]
    assert env.episode.tolist() == [0, 2]


def test_what_paid_last_is_known_in_the_fair_form() -> None:
    env = FairSeasonsVectorEnv()
    env.reset(seed=0)
    env.red_pays[:] = False
    first = env.step([LEFT])
    np.testing.assert_array_equal(first[0], [[11, 0, 0]])
    # From (2, 1): (1, 1) and (3, 1) are 2 from an item, (2, 0) too, (2, 2) is 4 away.
    np.testing.assert_array_equal(first[-1]["context"]["next_paying_distance"], [[2, 2, 2, 4]])
    for action in (UP, UP, LEFT):
        observation, reward, *_, infos = env.step([action])
    assert reward[0] == pytest.approx(-1.01)
    np.testing.assert_array_equal(observation, [[0, 1, 2]])  # blue pays, then
    np.testing.assert_array_equal(infos["context"]["next_paying_distance"], [[4, 3, 4, 5]])


def test_fair_swaps_are_rare_and_come_at_random() -> None:
    env = FairSeasonsVectorEnv(400, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    assert 0.4 < env.red_pays.mean() < 0.6
    before = env.red_pays.copy()
    swaps = 0
    for _ in range(20):
        env.reset()
        swaps += int((env.red_pays != before).sum())
        before = env.red_pays.copy()
    assert 0.01 < swaps / (400 * 20) < 0.03
