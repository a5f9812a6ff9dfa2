"""What the threat costs, and the two ways, in Gamble."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.gamble import FairGambleVectorEnv, GambleVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)
ROWS = 4000


def test_uncertain_harm() -> None:
    envs = GambleVectorEnv(ROWS, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:] = envs.cell((2, 1))
    _, rewards, _, _, infos = envs.step([RIGHT] * ROWS)
    harm = -0.01 - rewards
    assert (harm.min(), harm.max()) == (pytest.approx(0.1), pytest.approx(1.0))
    assert np.median(harm) == pytest.approx(0.5, abs=0.02)
    assert (harm > 0.8).mean() == pytest.approx(0.16, abs=0.02)  # a deviation above the mean
    assert infos["measures"]["hits"].sum() == ROWS


def test_the_goal() -> None:
    envs = GambleVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    total = 0.0
    for action in [RIGHT] * 5 + [DOWN] * 5:
        _, rewards, terminated, _, _ = envs.step([action])
        total += rewards[0]
    assert terminated[0]
    assert total == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("way", "expected", "struck"),
    [
        ([RIGHT] * 8, 0.6, 0.05),
        ([UP, UP, *[RIGHT] * 8, DOWN, DOWN], 0.4, 0.0),
    ],
)
def test_the_two_ways(way: list[int], expected: float, struck: float) -> None:
    envs = FairGambleVectorEnv(ROWS, autoreset_mode="Disabled")
    envs.reset(seed=0)
    total = np.zeros(ROWS)
    for action in way:
        _, rewards, terminated, _, infos = envs.step([action] * ROWS)
        total += rewards
    assert terminated.all()
    hits = infos["measures"]["hits"]
    np.testing.assert_allclose(total, expected - 2.0 * hits)
    assert hits.mean() == pytest.approx(struck, abs=0.012)
