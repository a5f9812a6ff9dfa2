"""A resource that comes back until it is lost."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP
from erm_gym.envs.classic.lost_resource import (
    RETURN_AFTER,
    FairLostResourceVectorEnv,
    LostResourceVectorEnv,
)

TO_RESOURCE = [DOWN, DOWN, RIGHT, RIGHT]


def rewards(env: LostResourceVectorEnv, actions: list[int]) -> list[float]:
    return [float(env.step([action])[1][0]) for action in actions]


def test_it_is_there_again_after_five_steps_and_lost_for_good() -> None:
    env = LostResourceVectorEnv(loss=10, steps=60)
    env.reset(seed=0)
    assert rewards(env, TO_RESOURCE) == pytest.approx([-0.01] * 3 + [0.5])
    assert rewards(env, [UP, DOWN]) == pytest.approx([-0.01] * 2)  # after 2 steps
    assert rewards(env, [UP, UP, DOWN]) == pytest.approx([-0.01] * 3)
    *_, infos = env.step([DOWN])  # step 10, 6 after the pick-up
    assert (infos["context"]["picked"][0], infos["context"]["since_loss"][0]) == (1.0, 0.0)
    assert rewards(env, [UP, DOWN] * 20) == pytest.approx([-0.01] * 40)
    *_, infos = env.step([UP])
    found = {name: float(infos["measures"][name][0]) for name in ("picked", "visits", "visits_1")}
    assert found == {"picked": 2.0, "visits": 20.0, "visits_1": 10.0}
    assert infos["context"]["since_loss"][0] == 41.0


def test_the_loss_of_the_fair_form_passes_in_half_of_the_episodes() -> None:
    env = FairLostResourceVectorEnv(400)
    observations, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observations, [[0, 0, 1, 1]] * 400)
    assert env.returns.mean() == pytest.approx(0.5, abs=0.08)
    phases = []
    for step in range(50 + RETURN_AFTER + 1):
        observations, *_, infos = env.step(np.full(400, UP if step % 2 else LEFT))
        phases.append(int(observations[0, 1]))
    assert phases[48:52] == [0, 0, 1, 1]
    assert [phases[49 + since] for since in (10, 11, 20, 21, 30, 31)] == [1, 2, 2, 3, 3, 4]
    np.testing.assert_array_equal(infos["context"]["unsure"], 1.0)
    for action in TO_RESOURCE:
        observations, reward, *_, infos = env.step(np.full(400, action))
    np.testing.assert_array_equal(reward, np.where(env.returns, 0.5, -0.01))
    np.testing.assert_array_equal(observations[:, 1], np.where(env.returns, 0, 5))
    np.testing.assert_array_equal(infos["measures"]["found"], env.returns)
    np.testing.assert_array_equal(infos["context"]["since_loss"] == 0.0, env.returns)


def test_the_second_resource_is_never_lost() -> None:
    env = FairLostResourceVectorEnv()
    env.reset(seed=0)
    assert rewards(env, [DOWN] * 4 + [RIGHT] * 4)[-1] == pytest.approx(0.2)
    observation, reward, *_ = env.step([RIGHT])
    assert reward[0] == pytest.approx(-0.01)
    np.testing.assert_array_equal(observation, [[24, 0, 1, 0]])
    assert rewards(env, [RIGHT] * 4)[-1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"size": 4}, "size .* 4"), ({"loss": 0}, "loss .* 0"), ({"steps": 0}, "steps .* 0")],
)
def test_bad_options(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LostResourceVectorEnv(**wrong)  # type: ignore[arg-type]
