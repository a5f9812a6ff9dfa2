"""Rewards of two doors, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.two_doors import FairTwoDoorsVectorEnv, TwoDoorsVectorEnv


@pytest.mark.parametrize("correlation", [0.0, -0.5, 1.0])
def test_both_doors_have_the_same_mean_and_are_correlated(correlation: float) -> None:
    env = TwoDoorsVectorEnv(20000, correlation=correlation)
    env.reset(seed=0)
    *_, infos = env.step(np.zeros(20000, int))
    rewards = [infos["context"]["obtained"], infos["context"]["foregone"]]
    np.testing.assert_allclose(np.mean(rewards, axis=1), 0.5, atol=0.03)
    np.testing.assert_allclose(np.std(rewards, axis=1), 1.0, atol=0.03)
    assert np.corrcoef(*rewards)[0, 1] == pytest.approx(correlation, abs=0.03)


def test_counts_by_hand() -> None:
    env = TwoDoorsVectorEnv(trials=4)
    env.reset(seed=0)
    rewards = iter([[1.0, 0.0], [0.0, 1.0], [0.0, 0.1], [1.0, 0.0]])
    env._draw = lambda: np.array([next(rewards)])  # type: ignore[method-assign]
    for door, expected in ((0, 1.0), (0, 0.0), (1, 0.1), (1, 0.0)):
        _, reward, terminated, truncated, infos = env.step([door])
        assert reward[0] == expected
    assert (bool(terminated[0]), bool(truncated[0])) == (False, True)
    measures = infos["final_info"]["measures"]
    found = {name: float(values[0]) for name, values in measures.items() if name[0] != "_"}
    assert found == {
        "second": 2.0,
        "better": 2.0,  # the first and the third trial
        "better_before": 4.0,
        "regrets": 1.0,  # before the third trial
        "regret_switches": 1.0,
        "reliefs": 1.0,  # before the second; a difference of .1 is too small before the fourth
        "relief_switches": 0.0,
    }


def test_the_good_door_of_the_fair_form_swaps_and_is_better() -> None:
    env = FairTwoDoorsVectorEnv(4000)
    env.reset(seed=0)
    assert env.good.mean() == pytest.approx(0.5, abs=0.05)
    before = env.good.copy()
    observation, reward, *_, infos = env.step(env.good)
    assert (env.good != before).mean() == pytest.approx(0.02, abs=0.01)
    assert reward.mean() == pytest.approx(0.98 * 0.7 + 0.02 * 0.3, abs=0.03)
    gain = infos["context"]["obtained"] - infos["context"]["foregone"]
    np.testing.assert_array_equal(observation[:, 0], 1 + before)
    np.testing.assert_array_equal(
        observation[:, 1], np.select([gain < -0.2, gain > 0.2], [1, 2], default=0)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"correlation": 1.5}, r"correlation .* 1\.5"), ({"trials": 0}, "trials .* 0")],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TwoDoorsVectorEnv(**options)  # type: ignore[arg-type]


def test_bad_drift() -> None:
    with pytest.raises(ValueError, match=r"drift .* 2\.0"):
        FairTwoDoorsVectorEnv(drift=2.0)
