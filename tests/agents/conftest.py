"""A tiny model, a fearful critic whose cautious tokens are known, and environments with both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium.vector import VectorEnv

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.conversation import conversation_vec
from erm_gym.llm import FrozenLLM, load_llm

PROMPTS = ["Hi", "Please help me", "What is it that you want from me?"]

MakeEnvs = Callable[..., VectorEnv]


def vowels(prompt: str, reply: str) -> float:
    """A user who likes lower-case letters: enough of a signal for weights to change."""
    return sum(character.islower() for character in reply) / max(len(reply), 1)


@pytest.fixture(scope="session")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def critic(llm: FrozenLLM) -> EmotionalCritic:
    """Every third token is cautious, and its danger net is afraid of everything (0.88)."""
    critic = EmotionalCritic.for_llm(llm)
    critic.modulator.set_category("cautious", list(range(0, llm.vocab_size, 3)))
    last = critic.fear_module.danger_net[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.constant_(last.bias, 2.0)
    return critic


@pytest.fixture
def make_envs(llm: FrozenLLM, critic: EmotionalCritic) -> MakeEnvs:
    def make(
        num_envs: int = 2,
        *,
        kind: Callable[..., VectorEnv] = candidate_generation_vec,
        **options: Any,
    ) -> VectorEnv:
        defaults: dict[str, Any] = {
            "llm": llm,
            "critic": critic,
            "prompts": PROMPTS,
            "user": vowels,
            "max_new_tokens": 4,
        }
        if kind in (candidate_generation_vec, conversation_vec):
            defaults["k"] = 8
        return kind(num_envs, **{**defaults, **options})

    return make
