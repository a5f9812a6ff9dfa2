"""The walls of AngerGrid, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.anger_grid import AngerGridVectorEnv, FairAngerGridVectorEnv
from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP


def test_walls_fall_by_themselves_but_the_edge_stays() -> None:
    lasting = AngerGridVectorEnv(wall_duration=0)
    fleeting = AngerGridVectorEnv(wall_duration=6)
    to_the_wall = [UP, DOWN, DOWN, RIGHT]
    for env, hits in ((lasting, 2), (fleeting, 1)):
        env.reset(seed=0)
        for action in [*to_the_wall, RIGHT, RIGHT]:
            *_, infos = env.step([action])
        assert infos["measures"]["wall_hits"] == [hits]
        assert infos["measures"]["blocked"] == [hits + 1]
        assert env.position == [11 if env is lasting else 12]


def test_the_best_return_is_93() -> None:
    env = AngerGridVectorEnv()
    env.reset(seed=0)
    total = sum(float(env.step([action])[1][0]) for action in [DOWN] * 4 + [RIGHT] * 4)
    assert total == pytest.approx(0.93)


def at_the_corner(probability: float) -> FairAngerGridVectorEnv:
    env = FairAngerGridVectorEnv(probability=probability)
    env.reset(seed=0)
    env.position[:] = 0
    return env


@pytest.mark.parametrize(("probability", "opens"), [(1.0, True), (0.0, False)])
def test_the_third_push_leads_through_a_door_that_can_open(probability: float, opens: bool) -> None:
    env = at_the_corner(probability)
    found = [env.step([RIGHT])[0][0].tolist() for _ in range(4)]
    assert found == [[1, 0], [1, 1], [1, 2], [2, 0] if opens else [1, 3]]
    *_, infos = env.step([RIGHT])
    assert infos["measures"]["opened"] == [opens]
    assert infos["measures"]["blocked"] == [2 if opens else 4]
    assert infos["context"]["pushes"] == [0.0 if opens else 1.0]


def test_a_move_in_between_begins_the_count_anew_but_a_bump_does_not() -> None:
    env = at_the_corner(1.0)
    pushes = [
        int(env.step([action])[0][0, 1]) for action in (RIGHT, RIGHT, UP, RIGHT, LEFT, RIGHT, RIGHT)
    ]
    assert pushes == [0, 1, 1, 2, 0, 0, 1]


def test_the_door_can_be_opened_in_half_of_the_episodes() -> None:
    env = FairAngerGridVectorEnv(400)
    env.reset(seed=0)
    assert env.can_open.mean() == pytest.approx(0.5, abs=0.1)
    assert set(env.position.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="probability must be in"):
        FairAngerGridVectorEnv(probability=1.5)
    with pytest.raises(ValueError, match="wall_duration must be at least 0"):
        AngerGridVectorEnv(wall_duration=-1)


def test_giving_up_after_three_pushes_is_best_on_average() -> None:
    through = [RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]
    around = [DOWN] * 4 + [RIGHT] * 3 + [UP] * 4
    paths = {"opens": through, "around": [RIGHT, *around, RIGHT], "vain": [RIGHT] * 4 + around}
    returns = {}
    for name, path in paths.items():
        env = at_the_corner(float(name == "opens"))
        steps = [env.step([action]) for action in [*path, RIGHT][:20]]
        ends = [bool(step[2][0]) for step in steps]
        assert any(ends), name
        returns[name] = float(np.sum([step[1][0] for step in steps[: ends.index(True) + 1]]))
    assert returns["opens"] == pytest.approx(1.0 - 5 * 0.05)
    assert (returns["opens"] + returns["vain"]) / 2 > returns["around"]
