"""Harm, and where the threat is, in TransferGrid."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.grid import DOWN, RIGHT
from erm_gym.envs.classic.transfer_grid import FairTransferGridVectorEnv, TransferGridVectorEnv


def test_the_way_round_is_best_and_the_way_through_hurts() -> None:
    for actions, best, hits in (
        ([RIGHT] * 4 + [DOWN] * 4, 1.0 - 0.08, 0.0),
        ([RIGHT, DOWN] * 4, 1.0 - 0.08 - 2.5, 5.0),  # (1, 1) to (3, 3)
    ):
        env = TransferGridVectorEnv()
        env.reset(seed=0)
        steps = [env.step([action]) for action in actions]
        assert sum(float(step[1][0]) for step in steps) == pytest.approx(best)
        assert steps[-1][2][0]
        assert steps[-1][4]["final_info"]["measures"]["hits"][0] == hits


def test_the_threat_is_elsewhere_each_episode() -> None:
    envs = FairTransferGridVectorEnv(500)
    envs.reset(seed=0)
    assert set(envs.threat) == set(envs.places)
    assert len(envs.places) == 17
    assert (envs._distances[envs.places][:, [0, 24]] > 1.5).all()
    trained = FairTransferGridVectorEnv(held_out=False)
    tested = FairTransferGridVectorEnv(held_out=True)
    assert not set(trained.places) & set(tested.places)
    assert set(trained.places) | set(tested.places) == set(envs.places)


def test_everybody_sees_the_threat_from_where_they_stand() -> None:
    env = FairTransferGridVectorEnv()
    env.reset(seed=0)
    env.threat[:], env.position[:] = env.cell((0, 3)), env.cell((4, 2))
    np.testing.assert_array_equal(env._observe(), [[0, 3, 0, 1]])  # -4 rows, cut to -2; 1 column


def test_a_threat_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="cell of the 5 x 5 grid"):
        TransferGridVectorEnv(threat=(5, 0))
