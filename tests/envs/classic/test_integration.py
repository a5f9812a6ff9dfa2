"""The goals and the wall of Integration."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from erm_gym.envs.classic.base import ClassicVectorEnv
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP
from erm_gym.envs.classic.integration import FairIntegrationVectorEnv, IntegrationVectorEnv

OVER = [RIGHT] * 6
ROUND = [UP, *[RIGHT] * 6, DOWN]
BELOW = [*[DOWN] * 3, *[RIGHT] * 6]
HITTING = [*[DOWN] * 4, *BELOW]


def total(env: ClassicVectorEnv, actions: Sequence[int]) -> tuple[float, bool]:
    env.reset(seed=0)
    steps = [env.step([action]) for action in actions]
    assert not any(step[2][0] for step in steps[:-1])
    return sum(float(step[1][0]) for step in steps), bool(steps[-1][2][0])


def check(env: ClassicVectorEnv, actions: Sequence[int], expected: float) -> None:
    found, terminated = total(env, actions)
    assert found == pytest.approx(expected)
    assert terminated


@pytest.mark.parametrize(
    ("path", "best"),
    [(OVER, 0.74), (ROUND, 0.92), (BELOW, 0.51), ([*[UP] * 3, *[RIGHT] * 6], 0.21)],
)
def test_the_best_ways_to_the_goals(path: Sequence[int], best: float) -> None:
    check(IntegrationVectorEnv(), path, best)


def test_behind_the_closed_wall_is_the_best_goal() -> None:
    env = FairIntegrationVectorEnv()
    check(env, HITTING, 1.2 - 13 * 0.01)
    check(env, ROUND, 0.92)


def test_the_wall_is_gone_after_the_fourth_hit() -> None:
    env = FairIntegrationVectorEnv()
    env.reset(seed=0)
    found = [env.step([action])[0][0].tolist() for action in (DOWN, DOWN, LEFT, DOWN, DOWN, DOWN)]
    assert found == [[21, 1], [21, 2], [21, 2], [21, 3], [21, 4], [28, 4]]


def test_regret_is_of_the_goal_that_was_taken() -> None:
    for path, regret in ((OVER, 0.7), (BELOW, -0.4)):
        env = IntegrationVectorEnv()
        env.reset(seed=0)
        for action in path:
            *_, infos = env.step([action])
        assert infos["final_info"]["context"]["regret"] == pytest.approx([regret])
        assert infos["context"]["regret"] == [0.0]
