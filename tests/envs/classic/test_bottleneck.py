"""The door of Bottleneck, push by push."""

from __future__ import annotations

import pytest

from erm_gym.envs.classic.bottleneck import BottleneckVectorEnv, FairBottleneckVectorEnv
from erm_gym.envs.classic.grid import DOWN, RIGHT


def test_the_fourth_push_is_the_way_through() -> None:
    env = BottleneckVectorEnv()
    env.reset(seed=0)
    path = [DOWN, DOWN, RIGHT, RIGHT, *[RIGHT] * 4, RIGHT, RIGHT, DOWN, DOWN, DOWN]
    steps = [env.step([action]) for action in path]
    assert sum(float(step[1][0]) for step in steps) == pytest.approx(9.88)
    assert [bool(step[2][0]) for step in steps] == [False] * 12 + [True]
    measures = steps[-1][-1]["final_info"]["measures"]
    assert {name: float(measures[name][0]) for name in ("opened", "goal", "blocked", "pushes")} == {
        "opened": 1.0,
        "goal": 1.0,
        "blocked": 3.0,
        "pushes": 4.0,
    }


def test_a_decoy_is_pushed_in_vain() -> None:
    env = FairBottleneckVectorEnv()
    env.reset(seed=0)
    for action in (DOWN, RIGHT, RIGHT):
        env.step([action])
    found = [env.step([RIGHT])[0][0].tolist() for _ in range(6)]
    assert found == [[8, 1], [8, 2], [8, 3], [8, 4], [8, 4], [8, 4]]
    assert env.step([DOWN])[0][0].tolist() == [14, 0]
    assert [env.step([RIGHT])[0][0].tolist() for _ in range(4)][-1] == [15, 0]


def test_without_a_decoy_there_is_wall_which_is_no_push() -> None:
    env = BottleneckVectorEnv()
    env.reset(seed=0)
    for action in (DOWN, RIGHT, RIGHT, RIGHT):
        *_, infos = env.step([action])
    assert infos["context"]["wall_hit"] == [1.0]
    assert infos["context"]["pushing"] == [0.0]
