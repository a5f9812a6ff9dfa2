"""The key, the door and what is counted, in PitchBlack."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from erm_gym.envs.classic.pitch_black import FairPitchBlackVectorEnv, PitchBlackVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)


def test_the_door_pays_with_the_key_only() -> None:
    envs = PitchBlackVectorEnv(2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.key[:] = [envs.cell((0, 1)), envs.cell((1, 0))]
    way = [RIGHT] * 9 + [DOWN] * 9
    for action in way[:-1]:
        _, rewards, terminated, _, infos = envs.step([action] * 2)
        assert not rewards.any()
        assert not terminated.any()
    np.testing.assert_array_equal(infos["context"]["sought"], [0.0, 1.0])
    _, rewards, terminated, _, infos = envs.step([DOWN] * 2)
    np.testing.assert_array_equal(rewards, [10.0, 0.0])
    np.testing.assert_array_equal(terminated, [True, False])
    np.testing.assert_array_equal(infos["measures"]["solved"], [1.0, 0.0])


def test_visits_count_the_start_and_bumps() -> None:
    envs = PitchBlackVectorEnv(1, autoreset_mode="Disabled")
    _, infos = envs.reset(seed=0)
    assert infos["context"]["visits"][0] == 1.0
    np.testing.assert_array_equal(infos["context"]["next_blocked"], [[1.0, 0.0, 1.0, 0.0]])
    envs.step([UP])  # into the edge
    envs.step([RIGHT])
    _, _, _, _, infos = envs.step([RIGHT])
    np.testing.assert_array_equal(infos["context"]["next_visits"], [[1.0, 0.0, 1.0, 0.0]])
    _, _, _, _, infos = envs.step([LEFT])
    assert infos["context"]["visits"][0] == 2.0
    np.testing.assert_array_equal(infos["context"]["next_visits"], [[2.0, 0.0, 2.0, 1.0]])


def test_keys_lie_in_every_free_cell() -> None:
    envs = FairPitchBlackVectorEnv(4000, autoreset_mode="Disabled")
    envs.reset(seed=0)
    walls = set(map(envs.cell, envs.walls))
    assert set(envs.key) == set(range(121)) - walls - {0, 120}


@pytest.mark.filterwarnings("ignore:.*is out of date.*")
def test_rooms_are_connected_and_everybody_sees_the_key_flag_and_the_freshest_neighbour() -> None:
    envs = gym.make_vec("ErmGym/PitchBlack-v1", num_envs=1, autoreset_mode="Disabled")
    assert isinstance(envs, FairPitchBlackVectorEnv)
    reached = {0}
    while True:
        further = reached | set(envs.moves.target[sorted(reached)].ravel().tolist())
        if further == reached:
            break
        reached = further
    assert reached == set(range(121)) - set(map(envs.cell, envs.walls))
    observations, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(observations, [[0, 0, DOWN]])
    envs.key[:] = envs.cell((1, 0))
    envs.step([DOWN])
    observations, rewards, _, _, _ = envs.step([UP])
    np.testing.assert_array_equal(observations, [[0, 1, RIGHT]])  # down was visited
    assert rewards[0] == -0.01


def test_rooms_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 5, got 4"):
        FairPitchBlackVectorEnv(size=4)
