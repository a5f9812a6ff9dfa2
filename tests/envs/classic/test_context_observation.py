"""The context as part of the observation."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.envs.checker import check_vector_env
from erm_gym.envs.classic.context_observation import ContextObservation, VectorContextObservation

ENV_ID = "ErmGym/SlipperyCliff-v1"


def make(num_envs: int, mode: AutoresetMode) -> VectorEnv:
    return VectorContextObservation(gym.make_vec(ENV_ID, num_envs=num_envs, autoreset_mode=mode))


def test_both_wrappers_keep_the_contracts() -> None:
    check_env(ContextObservation(gym.make(ENV_ID).unwrapped))
    check_vector_env(make, steps=60)


def test_the_context_is_observed_and_the_rest_is_as_before() -> None:
    plain = gym.make_vec(ENV_ID, num_envs=4)
    wrapped = make(4, AutoresetMode.SAME_STEP)
    plain.reset(seed=3)
    wrapped.reset(seed=3)
    ended = 0
    for step in range(40):
        actions = np.full(4, step % 4)
        bare, *others, infos = plain.step(actions)
        found, *same, told = wrapped.step(actions)
        np.testing.assert_array_equal(found["observation"], bare)
        for one, other in zip(others, same, strict=True):
            np.testing.assert_array_equal(one, other)
        for name, values in infos["context"].items():
            if not name.startswith("_"):
                np.testing.assert_array_equal(found[name], values)
        for row in np.flatnonzero(infos.get("_final_obs", [])):
            last = told["final_obs"][row]
            np.testing.assert_array_equal(last["observation"], infos["final_obs"][row])
            distance = infos["final_info"]["context"]["threat_distance"][row]
            assert last["threat_distance"] == distance
            ended += 1
    assert ended


def test_an_environment_without_context_is_refused() -> None:
    with pytest.raises(ValueError, match="no classic environment"):
        ContextObservation(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="no classic environment"):
        VectorContextObservation(gym.make_vec("CartPole-v1", num_envs=2))
