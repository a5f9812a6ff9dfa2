"""`ErmGym/TokenGeneration-v0`: the whole vocabulary, whose logits are in one small vector."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.token import token_generation_vec
from erm_gym.llm import FrozenLLM

PROMPTS = ["Hi", "Please help me", "A longer question than those"]
COMMON: dict[str, Any] = {"prompts": PROMPTS, "max_new_tokens": 4, "user": lambda p, r: 0.5}


def make(llm: FrozenLLM, num_envs: int = 2, **options: Any) -> VectorEnv:
    return token_generation_vec(num_envs, llm=llm, **{**COMMON, "critic": None, **options})


@pytest.mark.usefixtures("llm")
def test_gym_make() -> None:
    name = "erm_gym:ErmGym/TokenGeneration-v0"
    env = gym.make(name, llm="tiny", prompts=PROMPTS)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {
        *("hidden", "prompt_hidden", "last_hidden", "progress", "emotion", "fear")
    }
    assert env.action_space == gym.spaces.Discrete(259)
    envs = gym.make_vec(name, num_envs=2, llm="tiny", prompts=PROMPTS)
    assert envs.observation_space.contains(envs.reset(seed=0)[0])


def test_it_is_the_candidate_environment_with_other_names_for_actions(llm: FrozenLLM) -> None:
    """The same tokens bring the same states, rewards and replies."""
    options = {**COMMON, "critic": None, "prior_weight": 0.3, "prior_temperature": 0.6}
    tokens = token_generation_vec(3, llm=llm, **options)
    candidates = candidate_generation_vec(3, llm=llm, k=7, **options)
    seen, _ = tokens.reset(seed=5)
    offered, _ = candidates.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(11):
        head = llm.model.get_output_embeddings()
        logits = head(torch.from_numpy(seen["last_hidden"])) / 0.6
        logprobs = logits.log_softmax(-1).gather(1, torch.from_numpy(offered["candidates"]))
        np.testing.assert_allclose(logprobs, offered["logprobs"], atol=1e-4)
        ranks = rng.integers(7, size=3)
        chosen = offered["candidates"][np.arange(3), ranks]
        seen, rewards, *ends, infos = tokens.step(chosen)
        offered, expected, *expected_ends, expected_infos = candidates.step(ranks)
        np.testing.assert_allclose(rewards, expected, atol=1e-5)
        np.testing.assert_array_equal(ends, expected_ends)
        for key in ("hidden", "prompt_hidden", "progress"):
            np.testing.assert_allclose(seen[key], offered[key], atol=1e-4)
        if "final_info" in expected_infos:
            own, other = infos["final_info"], expected_infos["final_info"]
            assert list(own["transcript"]) == list(other["transcript"])
            for one, two in zip(own["judged_episode"], other["judged_episode"], strict=True):
                if two is not None:
                    np.testing.assert_allclose(one.logprobs, two.logprobs, atol=1e-4)


@pytest.mark.parametrize("action", [259, -1])
def test_a_token_outside_the_vocabulary_is_named(llm: FrozenLLM, action: int) -> None:
    envs = make(llm)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=f"action {action} of row 1 is no token: there are 259"):
        envs.step(np.array([0, action]))


def test_an_episode_branches(llm: FrozenLLM) -> None:
    """The logits that a step needs are part of a snapshot."""
    envs = make(llm, prior_weight=1.0)
    envs.reset(seed=0)
    envs.step(np.array([5, 6]))
    snapshot = envs.snapshot()  # type: ignore[attr-defined]
    _, first, *_ = envs.step(np.array([7, 8]))
    _, other, *_ = envs.step(np.array([9, 10]))
    envs.restore(snapshot)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(envs.step(np.array([7, 8]))[1], first)
    assert not np.array_equal(first, other)
