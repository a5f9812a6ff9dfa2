"""Rules that every classic environment keeps: Gymnasium's, ours, and Stable-Baselines3's."""

from __future__ import annotations

from pathlib import Path

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
    "ErmGym/Contamination-v0",
    "ErmGym/Conflict-v0",
    "ErmGym/FearGrid-v0",
    "ErmGym/FearRing-v0",
    "ErmGym/FearRing-v1",
    "ErmGym/Integration-v0",
    "ErmGym/Integration-v1",
    "ErmGym/Regulation-v0",
    "ErmGym/TransferGrid-v0",
    "ErmGym/VisualTransfer-v0",
    "ErmGym/LostResource-v0",
    "ErmGym/Seasons-v0",
    "ErmGym/WantingLiking-v0",
    "ErmGym/Temporal-v0",
    "ErmGym/Temporal-v1",
}
"""Environments in which nothing is drawn at random."""
LIMITS = {"ErmGym/Gamble-v1": 100, "ErmGym/LostResource-v1": 150}
"""Steps after which episodes end here at the latest, so that some do; 20 if it has none here."""

every_env = pytest.mark.parametrize("env_id", sorted(CLASSIC))


@every_env
@pytest.mark.filterwarnings("ignore:.*(unconventional|not recommended|maximum).*")
def test_single_environments_keep_the_contracts(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)
    check_for_stable_baselines(gym.make(env_id))


@every_env
def test_vector_environments_keep_the_contract(env_id: str) -> None:
    limit = LIMITS.get(env_id, 20)

    def make(num_envs: int, mode: AutoresetMode) -> VectorEnv:
        env = gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=mode)
        env.time_limit = min(env.time_limit, limit)  # type: ignore[attr-defined]
        return env

    check_vector_env(make, steps=limit + 10, deterministic=env_id in DETERMINISTIC)


def test_every_environment_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "classic.md").read_text(encoding="utf-8")
    for env_id in CLASSIC:
        name = env_id.removeprefix("ErmGym/").removesuffix("-v0").removesuffix("-v1")
        assert f"`{name}-v0`, `-v1`" in page, env_id


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
