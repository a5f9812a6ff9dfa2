"""With the critic's rules alone, on the real model, more tonic fear means more cautious words."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from erm_gym.agents import make_agent
from erm_gym.agents.factory import find_critic
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.emotion import EMOTIONS

LEVELS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)
STEPS = 10


@pytest.mark.real_model
def test_cautious_choices_rise_with_tonic_fear() -> None:
    envs = gym.make_vec(
        "erm_gym:ErmGym/CandidateGeneration-v0",
        num_envs=32,
        dtype="bfloat16",
        split="validation",
        prompt_order="sequential",
        max_new_tokens=STEPS,
    )
    critic = find_critic(envs)
    assert critic is not None
    agent = make_agent("emotional-frozen", envs, seed=0)
    assert isinstance(agent, SamplingAgent) and agent.bias is not None
    afraid = agent.bias
    frozen = make_agent("frozen", envs, seed=0)
    mass = np.zeros(len(LEVELS))  # probability that the next choice is cautious
    observations, _ = envs.reset(seed=0)
    for _ in range(STEPS):
        tensors = {key: torch.from_numpy(value) for key, value in observations.items()}
        cautious = critic.modulator.is_cautious(tensors["candidates"])
        for index, level in enumerate(LEVELS):
            # Tonic fear alone: what the prompt itself frightens with is taken out.
            emotion = tensors["emotion"].clone()
            emotion[:, EMOTIONS.index("fear")] = level
            logits = afraid.on_logits(tensors["logprobs"], {**tensors, "emotion": emotion})
            mass[index] += float((logits.softmax(dim=-1) * cautious).sum(dim=-1).mean())
        actions, _ = frozen.predict(observations)
        observations, *_ = envs.step(actions)
    share = mass / STEPS
    print("expected share of cautious choices:", dict(zip(LEVELS, share.round(4), strict=True)))
    assert (np.diff(share) > 0).all()
    assert share[-1] > 1.5 * share[0]
