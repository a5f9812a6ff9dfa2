"""Rules that every classic environment keeps: Gymnasium's, ours, and Stable-Baselines3's."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_checker import check_env as check_for_stable_baselines

from erm_gym.envs.checker import check_vector_env
from erm_gym.envs.registration import CLASSIC

DETERMINISTIC = {
    "ErmGym/AngerGrid-v0",
    "ErmGym/BlockedWay-v0",
    "ErmGym/Bottleneck-v0",
    "ErmGym/Bottleneck-v1",
    "ErmGym/Conflict-v0",
    "ErmGym/FearGrid-v0",
    "ErmGym/FearRing-v0",
    "ErmGym/FearRing-v1",
    "ErmGym/Integration-v0",
    "ErmGym/Integration-v1",
    "ErmGym/Temporal-v0",
    "ErmGym/Temporal-v1",
}
"""Environments in which nothing is drawn at random."""

every_env = pytest.mark.parametrize("env_id", sorted(CLASSIC))


@every_env
@pytest.mark.filterwarnings("ignore:.*(unconventional|not recommended|maximum).*")
def test_single_environments_keep_the_contracts(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)
    check_for_stable_baselines(gym.make(env_id))


@every_env
def test_vector_environments_keep_the_contract(env_id: str) -> None:
    def make(num_envs: int, mode: AutoresetMode) -> VectorEnv:
        return gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=mode)

    limit = gym.make_vec(env_id, num_envs=1).time_limit  # type: ignore[attr-defined]
    check_vector_env(make, steps=min(limit, 500) + 5, deterministic=env_id in DETERMINISTIC)


@every_env
def test_pictures(env_id: str) -> None:
    text = gym.make(env_id, render_mode="ansi")
    text.reset(seed=0)
    assert isinstance(text.render(), str)
    picture = gym.make(env_id, render_mode="rgb_array")
    picture.reset(seed=0)
    frame = picture.render()
    assert isinstance(frame, np.ndarray)
    assert frame.dtype == np.uint8
    assert frame.ndim == frame.shape[-1] == 3
    assert frame.std() > 0
