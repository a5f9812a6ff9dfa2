"""Strength that is learned: the wrapper, what it is compared with, and going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from erm_gym.evaluation import RunError
from erm_gym.evaluation.config import RunInterrupted
from erm_gym.evaluation.steering.adaptive import AdaptiveConfig, SteeringOnly, learn_strength
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.steering import ContrastiveDirections

ENV = "erm_gym:ErmGym/EmotionControl-v0"


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture(scope="module")
def directions(llm: FrozenLLM) -> ContrastiveDirections:
    return ContrastiveDirections(
        emotions=("fear",),
        layers=(2,),
        directions=torch.randn(1, 1, llm.hidden_size, generator=torch.Generator().manual_seed(0)),
        counts=((1, 1),),
        fingerprint=llm.fingerprint,
    )


def config(**changes: Any) -> AdaptiveConfig:
    given: dict[str, Any] = {
        "user": "sentiment",
        "fixed": (-6.0, 0.0),
        "episodes": 8,
        "max_new_tokens": 4,
        "tokens_per_action": 2,
        "num_envs": 4,
        "evaluation_prompts": 4,
        "seeds": (0, 1),
    }
    return AdaptiveConfig(**{**given, **changes})


def test_the_agent_sets_the_steering_alone(
    llm: FrozenLLM, directions: ContrastiveDirections
) -> None:
    options: dict[str, Any] = {"steering": directions, "steer_towards": "fear"}
    envs = gym.make_vec(ENV, num_envs=2, llm=llm, user="sentiment", prompts=["Hi"], **options)
    wrapped = SteeringOnly(envs)
    assert wrapped.action_space.shape == (2, 1)
    assert wrapped.actions(np.array([[0.5], [-1.0]])).tolist() == [
        [0.0] * 8 + [s] for s in (0.5, -1.0)
    ]
    with pytest.raises(ValueError, match="make it with steering="):
        SteeringOnly(gym.make_vec(ENV, num_envs=1, llm=llm, user="sentiment"))


def test_a_reply_that_is_cut_off_has_ended_for_the_agent(
    llm: FrozenLLM, directions: ContrastiveDirections
) -> None:
    """Nothing comes behind it, so nothing is to be hoped for there."""
    options: dict[str, Any] = {"steering": directions, "steer_towards": "fear"}
    options |= {"max_new_tokens": 2, "tokens_per_action": 1, "prompts": ["Hi"]}
    plain = gym.make_vec(ENV, num_envs=3, llm=llm, user="sentiment", **options)
    wrapped = SteeringOnly(gym.make_vec(ENV, num_envs=3, llm=llm, user="sentiment", **options))
    cut = 0
    for envs in (plain, wrapped):
        envs.reset(seed=0)
    for _ in range(6):
        _, _, ended, truncated, _ = plain.step(np.zeros((3, 9), np.float32))
        _, _, own, never, _ = wrapped.step(np.zeros((3, 1), np.float32))
        assert own.tolist() == (ended | truncated).tolist()
        assert not never.any()
        cut += int(truncated.sum())
    assert cut > 0


def test_what_is_stopped_goes_on_and_ends_alike(
    llm: FrozenLLM, directions: ContrastiveDirections, tmp_path: Path
) -> None:
    whole = learn_strength(llm, directions, config(), tmp_path / "whole")

    def stop(name: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="kept"):
        learn_strength(llm, directions, config(), tmp_path / "parts", progress=stop)
    parts = learn_strength(llm, directions, config(), tmp_path / "parts")
    assert parts["agents"] == whole["agents"]
    assert set(whole["tried"]) == {-6.0, 0.0}
    [fixed] = [name for name in whole["agents"] if name.startswith("best fixed")]
    assert set(whole["agents"]) == {"adaptive", fixed, "unsteered"}
    scores = np.array([whole["parts"][f"adaptive {seed}"]["scores"] for seed in (0, 1)])
    assert scores.shape == (2, 4)
    strengths = [whole["parts"][f"adaptive {seed}"]["strengths"] for seed in (0, 1)]
    assert whole["agents"]["adaptive"]["strength"] == pytest.approx(np.mean(strengths))
    assert whole["agents"]["adaptive"]["spread"] == pytest.approx(np.std(strengths, axis=1).mean())
    assert whole["agents"]["unsteered"]["spread"] == 0.0
    assert whole["agents"]["adaptive"]["score"].mean == pytest.approx(scores.mean())
    with pytest.raises(RunError, match="other settings"):
        learn_strength(llm, directions, config(episodes=9), tmp_path / "parts")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": (7.0,)}, "within"),
        ({"fixed": ()}, "within"),
        ({"max_steering": 0.0, "fixed": (0.0,)}, "above 0"),
        ({"seeds": ()}, "at least one"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"evaluation_prompts": 1}, "2 at least"),
    ],
)
def test_wrong_settings_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        config(**changes)
