"""Threats, colours and what is seen of them, in VisualTransfer."""

from __future__ import annotations

import pytest

from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP
from erm_gym.envs.classic.visual_transfer import (
    FairVisualTransferVectorEnv,
    VisualTransferVectorEnv,
)


def test_the_best_way_and_a_hit() -> None:
    env = VisualTransferVectorEnv()
    env.reset(seed=0)
    total = 0.0
    for action in [*[RIGHT] * 7, *[DOWN] * 7]:
        _, rewards, terminated, _, _ = env.step([action])
        total += float(rewards[0])
    assert terminated[0]
    assert total == pytest.approx(9.87)
    env.reset(seed=0)
    for action in [DOWN, DOWN, RIGHT, RIGHT]:
        env.step([action])
    _, rewards, terminated, _, infos = env.step([RIGHT])  # onto (2, 3)
    assert (rewards[0], terminated[0], infos["measures"]["hits"][0]) == (-10.0, False, 1.0)
    assert infos["context"]["next_threat"][0].tolist() == [0.0, 1.0, 0.0, 0.0]  # (3, 3) is below


def test_maps_differ() -> None:
    env = VisualTransferVectorEnv(threats="B")
    _, infos = env.reset(seed=0)
    assert infos["context"]["threat_distance"].tolist() == [5.0]  # (1, 4)
    with pytest.raises(ValueError, match="threats must be one of"):
        VisualTransferVectorEnv(threats="C")


def test_objects_are_new_each_episode_and_either_colour_hurts() -> None:
    envs = FairVisualTransferVectorEnv(400)
    envs.reset(seed=0)
    colours = envs.colours.copy()
    assert ((colours == 1).sum(axis=1) == 8).all()
    assert ((colours == -1).sum(axis=1) == 8).all()
    assert (colours[:, [0, 63]] == 0).all()
    assert abs((envs.hurting == 1).mean() - 0.5) < 0.1
    envs.reset()
    assert (colours != envs.colours).any(axis=1).all()


def test_colours_are_seen_and_known_after_the_first() -> None:
    env = FairVisualTransferVectorEnv()
    env.reset(seed=0)
    env.colours[:] = 0
    env.colours[0, 1], env.colours[0, 2], env.hurting[0] = -1, 1, 1  # blue, then red, which hurts
    assert env._observe()[0].tolist() == [1, 0, 1, 3, 1, 1, 0]
    observations, rewards, _, _, infos = env.step([RIGHT])
    assert rewards[0] == pytest.approx(-0.01)
    assert observations[0].tolist() == [1, 0, 0, 2, 1, 1, 1]
    assert infos["context"]["colour"].tolist() == [-1.0]
    _, rewards, _, _, infos = env.step([RIGHT])
    assert rewards[0] == pytest.approx(-2.01)
    assert infos["measures"]["hits"].tolist() == [1.0]
    _, rewards, _, _, infos = env.step([UP])  # the edge: the object is not entered again
    assert rewards[0] == pytest.approx(-0.01)
    assert (infos["context"]["colour"][0], infos["context"]["hit"][0]) == (0.0, 0.0)
    env.step([LEFT])
