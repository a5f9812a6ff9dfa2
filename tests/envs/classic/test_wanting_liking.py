"""What is eaten in WantingLiking, and what it is worth."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP
from erm_gym.envs.classic.wanting_liking import (
    FairWantingLikingVectorEnv,
    WantingLikingVectorEnv,
)

TO_LIKED = [DOWN] * 5 + [RIGHT] * 2
TO_REGULAR = [UP, UP, RIGHT]
TO_WANTED = [UP, RIGHT, RIGHT]


def total(env: WantingLikingVectorEnv, actions: list[int]) -> float:
    return sum(float(env.step([action])[1][0]) for action in actions)


def test_the_best_return() -> None:
    env = WantingLikingVectorEnv()
    env.reset(seed=0)
    assert total(env, TO_LIKED) == pytest.approx(1.0 - 0.07)
    assert total(env, TO_REGULAR) == pytest.approx(0.6 * (1 - 0.3 * 0.2) - 0.03)
    assert total(env, TO_WANTED) == pytest.approx(0.5 * (1 - 0.5 * 0.45) - 0.03)
    *_, infos = env.step([DOWN])
    assert infos["context"]["satiation"][0] == pytest.approx(0.75)
    assert infos["context"]["wanted_distance"][0] == 99.0
    *_, terminated, _, infos = [env.step([DOWN]) for _ in range(2)][-1]
    assert bool(terminated[0])
    found = {name: float(values[0]) for name, values in infos["final_info"]["measures"].items()}
    assert all(found[name] == 1.0 for name in ("wanted", "liked", "regular", "exit"))
    assert env.satiation[0] == 0.0


def test_an_item_is_eaten_once() -> None:
    env = WantingLikingVectorEnv()
    env.reset(seed=0)
    total(env, TO_LIKED)
    assert total(env, [LEFT, RIGHT]) == pytest.approx(-0.02)


def test_the_salient_item_pays_twice_or_not_at_all() -> None:
    env = FairWantingLikingVectorEnv(900)
    observations, _ = env.reset(seed=0)
    np.testing.assert_allclose(np.bincount(observations[:, 2]) / 900, 1 / 3, atol=0.05)
    assert env.worth_it.mean() == pytest.approx(0.75, abs=0.05)
    salient = observations[:, 2]
    for action in TO_LIKED:
        observations, reward, *_, infos = env.step(np.full(900, action))
    usual = np.where(salient != 1, 1.0, np.where(env.worth_it, 2.0, 0.0))
    np.testing.assert_allclose(reward, usual - 0.05)
    np.testing.assert_array_equal(observations[:, 1], 2)
    np.testing.assert_array_equal(infos["measures"]["salient"], salient == 1)
    # From (5, 2) the wanted item at (2, 5) is 6 steps away, the regular one at (3, 3) is 3.
    expected = np.array([6.0, 99.0, 3.0])[salient]
    np.testing.assert_array_equal(infos["context"]["salient_distance"], expected)
    up = infos["context"]["next_salient_distance"][:, UP]
    np.testing.assert_array_equal(up, np.array([5.0, 99.0, 2.0])[salient])


def test_devalued_the_wanted_item_is_worth_nothing() -> None:
    env = FairWantingLikingVectorEnv(20, devalued=True)
    env.reset(seed=0)
    for action in [DOWN] * 2 + [RIGHT] * 5:
        _, reward, *_, infos = env.step(np.full(20, action))
    np.testing.assert_allclose(reward, -0.05)
    np.testing.assert_array_equal(infos["measures"]["wanted"], 1.0)
