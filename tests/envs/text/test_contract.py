"""Gymnasium's contract, ours and Stable-Baselines3's, over every registered environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.checker import check_vector_env
from erm_gym.envs.registration import ENTRY_POINTS
from erm_gym.llm import FrozenLLM
from tests.envs.text.conftest import OPTION_SETS, PROMPTS, content

CASES = [
    pytest.param(env_id, options, id=f"{env_id.split('/')[1]}-{name}")
    for env_id, sets in OPTION_SETS.items()
    for name, options in sets.items()
]

Complete = Callable[..., dict[str, Any]]


@pytest.fixture
def complete(llm: FrozenLLM, critic: EmotionalCritic) -> Complete:
    """Completes options, with things that were loaded before."""

    def add(options: dict[str, Any], max_new_tokens: int = 3) -> dict[str, Any]:
        common = {"llm": llm, "critic": critic, "prompts": PROMPTS, "user": content}
        return {**common, "max_new_tokens": max_new_tokens, **options}

    return add


def unmasked(options: dict[str, Any]) -> dict[str, Any]:
    """Options for checkers that know no action mask; the spaces are the same."""
    return {name: value for name, value in options.items() if name != "top_p"}


def test_every_registered_environment_is_checked() -> None:
    assert OPTION_SETS.keys() == ENTRY_POINTS.keys(), "give the new id sets of options"
    assert all(len(sets) >= 2 for sets in OPTION_SETS.values())


@pytest.mark.parametrize(("env_id", "options"), CASES)
def test_gymnasium_checks_it(env_id: str, options: dict[str, Any], complete: Complete) -> None:
    """Both render modes, too, which the checker makes from the environment's `spec`."""
    env = gym.make(f"erm_gym:{env_id}", **complete({**unmasked(options), "max_new_tokens": 20}))
    with warnings.catch_warnings():
        # What remains may be said of any environment of this kind, and no more.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space m.*imum value is")
        check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize(("env_id", "options"), CASES)
def test_an_episode_passes_the_passive_checker(
    env_id: str, options: dict[str, Any], complete: Complete
) -> None:
    env = gym.make(f"erm_gym:{env_id}", **complete(options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observation, first = env.reset(seed=0)
        over = False
        while not over:
            mask = observation.get("action_mask")
            action = env.action_space.sample() if mask is None else env.action_space.sample(mask)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    assert "prompt" in first
    assert {"transcript", "feedback", "reward_terms"} <= info.keys()
    env.close()


@pytest.mark.parametrize(("env_id", "options"), CASES)
def test_stable_baselines3_checks_it(
    env_id: str, options: dict[str, Any], complete: Complete
) -> None:
    env = gym.make(f"erm_gym:{env_id}", **complete({**unmasked(options), "max_new_tokens": 20}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_for_sb3(env.unwrapped)
    env.close()


@pytest.mark.parametrize(("env_id", "options"), CASES)
def test_our_checker_checks_it(env_id: str, options: dict[str, Any], complete: Complete) -> None:
    def make(num_envs: int, mode: AutoresetMode) -> VectorEnv:
        creator: Any = load_env_creator(f"{ENTRY_POINTS[env_id]}_vec")
        envs: VectorEnv = creator(num_envs, **complete({"autoreset_mode": mode, **options}, 2))
        return envs

    check_vector_env(make, num_envs=2, steps=4)


@pytest.mark.parametrize("env_id", sorted(ENTRY_POINTS))
def test_spaces_do_not_depend_on_the_way_it_is_made(env_id: str, complete: Complete) -> None:
    options = complete({"autoreset_mode": "NextStep"})
    envs = gym.make_vec(f"erm_gym:{env_id}", num_envs=3, **options)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    env = gym.make(f"erm_gym:{env_id}", **complete({}))
    assert envs.single_observation_space == env.observation_space
    assert envs.single_action_space == env.action_space
    observations, infos = envs.reset(seed=1)
    assert envs.observation_space.contains(observations) and infos["_prompt"].all()
    # Nearly: a CPU may add up the products of one row in another order than those of three.
    alone = env.reset(seed=1)[0]["hidden"]
    np.testing.assert_allclose(alone, observations["hidden"][0], atol=1e-4)
    env.close()
    envs.close()
