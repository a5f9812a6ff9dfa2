"""Contamination, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.contamination import (
    FAIR_CONTAMINANTS,
    ContaminationVectorEnv,
    FairContaminationVectorEnv,
)
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT

TO_FOOD = [DOWN, RIGHT]  # at (1, 1)


def rewards(env: ContaminationVectorEnv, actions: list[int]) -> list[float]:
    return [float(env.step([action])[1][0]) for action in actions]


def test_the_best_clean_return() -> None:
    env = ContaminationVectorEnv()
    env.reset(seed=0)
    path = [*TO_FOOD, *[RIGHT] * 4, *[DOWN] * 3, *[LEFT] * 3, *[RIGHT] * 3, DOWN]
    # (2, 5) and (3, 5) are beside the contaminated (2, 4), and clean.
    assert sum(rewards(env, path)) == pytest.approx(2.04)


def test_contact_spoils_food_and_goal_and_spreads() -> None:
    env = ContaminationVectorEnv()
    env.reset(seed=0)
    rewards(env, [RIGHT] * 4)
    assert rewards(env, [DOWN, DOWN]) == pytest.approx([-0.01, -0.11])
    assert np.flatnonzero(env.spoilt[0]).tolist() == [9, 10, 11, 15, 16, 17, 21, 22, 23]
    *_, infos = env.step([RIGHT])  # (2, 5): the contact costs once, and goes on to spread
    context = infos["context"]
    assert (context["touched"][0], context["contaminated"][0]) == (1.0, 1.0)
    assert infos["measures"]["touches"][0] == 2.0
    found = rewards(env, [DOWN, DOWN, DOWN])  # to the goal
    assert found == pytest.approx([-0.01, -0.01, 0.49])


def test_the_threat_costs_each_time_and_spoilt_food_costs() -> None:
    env = ContaminationVectorEnv()
    env.reset(seed=0)
    assert rewards(env, [DOWN, DOWN, RIGHT, RIGHT])[-1] == pytest.approx(-0.51)
    rewards(env, [RIGHT, RIGHT])
    assert rewards(env, [LEFT, LEFT])[-1] == pytest.approx(-0.51)
    rewards(env, [DOWN])
    assert rewards(env, [DOWN]) == pytest.approx([-0.31])


def test_the_fair_contaminant_moves_and_is_seen() -> None:
    env = FairContaminationVectorEnv(400)
    observations, infos = env.reset(seed=0)
    np.testing.assert_allclose(np.bincount(observations[:, 1]) / 400, 0.25, atol=0.08)
    cells = np.array(FAIR_CONTAMINANTS)[observations[:, 1]]
    np.testing.assert_allclose(
        infos["context"]["contaminant_distance"], np.hypot(cells[:, 0], cells[:, 1])
    )
    for action in TO_FOOD:
        observations, *_ = env.step(np.full(400, action))
    np.testing.assert_array_equal(observations[:, [0, 2, 3]], [[7, 0, 1]] * 400)
