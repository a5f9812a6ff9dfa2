"""Two rewards and a threat, in Conflict."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.conflict import ConflictVectorEnv, FairConflictVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)
BEST = (LEFT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT)


def test_the_best_return_takes_both() -> None:
    envs = ConflictVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    rewards = []
    for action in BEST:
        _, reward, terminated, _, infos = envs.step([action])
        rewards.append(reward[0])
    np.testing.assert_allclose(rewards, [-0.01, 0.3, -0.01, -0.01, -0.01, 0.7])
    assert terminated[0]
    measures = {name: infos["measures"][name][0] for name in envs.measures}
    assert measures == {"risky": 1, "safe": 1, "safe_first": 1, "risky_first": 0, "near": 2}


def test_rewards_are_there_once_and_harm_always() -> None:
    envs = ConflictVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    rewards = []
    for action in (RIGHT, RIGHT, LEFT, RIGHT):
        _, reward, terminated, _, infos = envs.step([action])
        rewards.append(reward[0])
    np.testing.assert_allclose(rewards, [-0.01, 0.7, -0.01, -0.31])
    assert not terminated[0]
    assert infos["measures"]["risky_first"][0] == 1
    assert infos["context"]["risky_left"][0] == 0.0


def test_a_calm_threat_strikes_seldom() -> None:
    rows = 4000
    envs = FairConflictVectorEnv(rows, autoreset_mode="Disabled")
    envs.reset(seed=0)
    alert = envs.alert == 1
    assert alert.mean() == pytest.approx(0.5, abs=0.03)
    envs.step([RIGHT] * rows)
    observed, rewards, _, _, infos = envs.step([RIGHT] * rows)
    np.testing.assert_array_equal(observed[0], [3 * 7 + 4, 1, 0, alert[0]])
    struck = infos["measures"]["harm"]
    np.testing.assert_allclose(rewards, 1.0 - 2.0 * struck)
    assert struck[alert].mean() == pytest.approx(0.8, abs=0.03)
    assert struck[~alert].mean() == pytest.approx(0.1, abs=0.03)
