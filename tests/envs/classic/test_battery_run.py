"""Waypoints in order, the battery, and what is seen of both, in BatteryRun."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.battery_run import BatteryRunVectorEnv, FairBatteryRunVectorEnv

UP, DOWN, LEFT, RIGHT = range(4)


def laid_out(kind: type[BatteryRunVectorEnv]) -> BatteryRunVectorEnv:
    """Waypoints at (2, 2), (2, 3) ... (2, 6), chargers in the corners; the agent at (2, 1)."""
    envs = kind(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.position[:] = envs.cell((2, 1))
    envs.waypoints[:] = [envs.cell((2, column)) for column in range(2, 7)]
    envs.chargers[:] = [0, 11, envs.cell((11, 0)), envs.cell((11, 11))]
    return envs


def test_draws_keep_their_places() -> None:
    envs = BatteryRunVectorEnv(2000)
    envs.reset(seed=0)
    row, column = np.divmod(envs.waypoints, 12)
    assert (row.min(), row.max(), column.min(), column.max()) == (2, 11, 2, 11)
    assert (envs.waypoints[:, 1:] != envs.waypoints[:, :-1]).all()
    row, column = np.divmod(envs.chargers, 12)
    np.testing.assert_array_equal(2 * (row // 6) + column // 6, np.tile(range(4), (2000, 1)))
    for quadrant in range(4):
        assert len(np.unique(envs.chargers[:, quadrant])) == 36


def test_waypoints_pay_in_order() -> None:
    envs = laid_out(BatteryRunVectorEnv)
    rewards, ends = [], []
    for _ in range(5):
        _, reward, terminated, _, infos = envs.step([RIGHT])
        rewards.append(reward[0])
        ends.append(bool(terminated[0]))
    np.testing.assert_allclose(rewards, [9.99] * 4 + [14.99])
    assert ends == [False] * 4 + [True]
    assert infos["measures"]["waypoints"][0] == 5
    assert infos["measures"]["completed"][0] == 1
    envs = laid_out(BatteryRunVectorEnv)
    envs.position[:] = envs.cell((2, 4))  # between the second and the fourth
    _, reward, _, _, _ = envs.step([RIGHT])
    np.testing.assert_allclose(reward, -0.01)


def test_the_battery() -> None:
    envs = laid_out(BatteryRunVectorEnv)
    envs.position[:], envs.battery[:] = envs.cell((0, 2)), 3
    envs.step([LEFT])
    envs.step([LEFT])
    assert envs.battery[0] == 100  # charged with the last but one step
    envs.position[:], envs.battery[:] = envs.cell((5, 5)), 1
    _, reward, terminated, _, infos = envs.step([UP])
    np.testing.assert_allclose(reward, -50.01)
    assert terminated[0]
    assert infos["measures"]["empty"][0] == 1


def test_what_the_patient_look_at() -> None:
    envs = laid_out(BatteryRunVectorEnv)
    envs.battery[:] = 20
    context = envs._context()
    found = {name: np.asarray(values)[0].tolist() for name, values in context.items()}
    assert found == {
        "battery": 0.2,
        "charger_distance": 3.0,
        "next_charger_distance": [2.0, 4.0, 2.0, 4.0],
        "reserve": 17.0,
        "waypoint_distance": 1.0,
        "next_waypoint_distance": [2.0, 2.0, 2.0, 0.0],
        "reachable": 1.0,
    }
    envs.battery[:] = 4  # 1 to the waypoint, 4 from there to the charger
    assert envs._context()["reachable"][0] == 0.0


def test_everybody_sees_ways_and_battery() -> None:
    envs = laid_out(FairBatteryRunVectorEnv)
    assert envs.battery[0] == 25
    # waypoint to the right, charger up and left; 22 steps to spare
    np.testing.assert_array_equal(envs._observe(), [[1, 2, 0, 0, 4, 1]])
    envs.battery[:] = 4  # 1 to spare
    np.testing.assert_array_equal(envs._observe(), [[1, 2, 0, 0, 1, 0]])


def test_bad_capacity() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        BatteryRunVectorEnv(1, capacity=0)
