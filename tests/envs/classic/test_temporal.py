"""Phases, their clock, and what is seen of them, in Temporal."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.temporal import FairTemporalVectorEnv, TemporalVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)


def wait(envs: TemporalVectorEnv, steps: int) -> float:
    """Bumps into the upper edge, and gives the last reward."""
    for _ in range(steps):
        _, rewards, _, _, _ = envs.step([UP])
    return float(rewards[0])


def test_phases_decide_what_does_harm() -> None:
    envs = TemporalVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:] = envs.cell((0, 3))  # near (1, 2), which is a threat in bad times only
    assert wait(envs, 50) == pytest.approx(-0.01)
    assert wait(envs, 1) == pytest.approx(-0.31)
    assert envs.valence[0] == -1.0
    assert wait(envs, 49) == pytest.approx(-0.31)
    assert envs.clock[0] == 100
    envs.reset()
    assert envs.clock[0] == 0  # recovery never comes


def test_bonuses_are_there_once_and_in_their_time() -> None:
    envs = TemporalVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:] = envs.cell((1, 0))
    _, rewards, _, _, _ = envs.step([RIGHT])
    assert rewards[0] == pytest.approx(-0.01)  # .3 for the bonus, -.3 for the threat beside it
    assert envs.valence[0] == 0.0
    envs.reset()
    envs.clock[:] = 150
    total = 0.0
    for action in (RIGHT, DOWN, UP, DOWN, RIGHT, RIGHT, RIGHT):
        _, rewards, _, _, infos = envs.step([action])
        total += rewards[0]
    assert total == pytest.approx(0.6 - 0.07)  # (1, 1) once, (1, 4)
    assert infos["measures"]["bonuses"][0] == 2


def test_the_fair_clock_goes_on_until_a_seed_is_given() -> None:
    envs = FairTemporalVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.step([UP])
    envs.reset()
    assert envs.clock[0] == 1
    envs.streak[:] = 2
    envs.clock[:] = 600
    assert envs.phase[0] == 3
    envs.reset(seed=0)
    assert (envs.clock[0], envs.streak[0]) == (0, 0)


def test_everybody_sees_events_in_a_row() -> None:
    envs = FairTemporalVectorEnv(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.clock[:] = 200  # bad times
    envs.position[:] = envs.cell((0, 2))
    seen = []
    for _ in range(3):
        observation, _, _, _, infos = envs.step([UP])
        seen.append(observation[0, 4])
    assert seen == [1, 0, 0]
    assert infos["context"]["streak"][0] == -1.0
    envs.clock[:] = 600  # good times
    envs.position[:] = envs.cell((0, 1))
    observation, rewards, _, _, infos = envs.step([DOWN])
    np.testing.assert_array_equal(observation, [[7, 1, 0, 0, 3]])
    assert rewards[0] == pytest.approx(0.29)
    assert infos["context"]["bonus_distance"][0] == 3.0  # to (1, 4) or (4, 1)
    np.testing.assert_array_equal(infos["context"]["next_bonus_distance"], [[4.0, 2.0, 4.0, 2.0]])
    envs.taken[:] = True
    envs.position[:] = envs.cell((5, 4))
    observation, _, terminated, _, infos = envs.step([RIGHT])
    assert terminated[0]
    assert observation[0, 4] == 3  # the goal is no event
    assert infos["context"]["bonus_distance"][0] == 0.0
