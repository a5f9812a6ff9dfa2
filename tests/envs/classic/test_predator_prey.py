"""Pellets, pursuit and what is seen, in PredatorPrey."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.predator_prey import FairPredatorPreyVectorEnv, PredatorPreyVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)
ROWS = 4000


def chase(agent: tuple[int, int], predator: tuple[int, int]) -> PredatorPreyVectorEnv:
    envs = PredatorPreyVectorEnv(ROWS, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:], envs.predator[:] = envs.cell(agent), envs.cell(predator)
    envs.pellets[:] = envs.cell((0, 9))
    return envs


def test_pellets_pay_and_come_back_anywhere() -> None:
    envs = chase((0, 8), (9, 0))
    envs.pellets[:, 1:] = envs.cell((9, 9))
    _, rewards, _, _, infos = envs.step([RIGHT] * ROWS)
    np.testing.assert_allclose(rewards, 0.99)
    np.testing.assert_array_equal(infos["measures"]["food"], np.ones(ROWS))
    assert set(envs.pellets[:, 0]) == set(range(100)) - {9}  # not under the agent
    assert (envs.pellets[:, 1:] == 99).all()


@pytest.mark.parametrize(
    ("predator", "pursued"),
    [((9, 4), (8, 4)), ((4, 9), (4, 8)), ((9, 8), (8, 8)), ((8, 8), (8, 7))],
)
def test_the_predator_closes_the_larger_gap(
    predator: tuple[int, int], pursued: tuple[int, int]
) -> None:
    envs = chase((5, 4), predator)
    envs.step([UP] * ROWS)  # to (4, 4); in the last case both gaps are 4
    share = (envs.predator == envs.cell(pursued)).mean()
    assert share == pytest.approx(0.85, abs=0.02)  # .8 + .2 / 4


def test_caught() -> None:
    envs = chase((5, 5), (5, 8))
    _, rewards, terminated, _, _ = envs.step([RIGHT] * ROWS)
    assert not terminated.any()  # at distance 1 at least
    np.testing.assert_allclose(rewards, -0.01)
    envs = chase((5, 5), (5, 7))
    _, rewards, terminated, _, infos = envs.step([RIGHT] * ROWS)
    assert terminated.mean() == pytest.approx(0.85, abs=0.02)
    np.testing.assert_allclose(rewards[terminated], -50.01)
    np.testing.assert_array_equal(infos["measures"]["caught"], terminated)


def test_who_enters_the_predators_cell_may_escape() -> None:
    envs = chase((5, 5), (5, 6))
    _, _, terminated, _, _ = envs.step([RIGHT] * ROWS)
    assert terminated.mean() == pytest.approx(0.8, abs=0.02)


def test_everybody_sees_predator_food_and_edges() -> None:
    envs = FairPredatorPreyVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:], envs.predator[:] = envs.cell((0, 5)), envs.cell((7, 4))
    envs.pellets[:] = [90, 90, 90, 90, envs.cell((0, 7))]
    # 7 rows down, cut to 3, 1 column left; food to the right; first row, no edge column.
    np.testing.assert_array_equal(envs._observe(), [[6, 2, 1, 2, 0, 1]])
