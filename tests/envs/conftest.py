"""The tiny model and an untrained critic for it, kept for the whole session."""

from __future__ import annotations

import pytest

from erm_gym.emotion import EmotionalCritic
from erm_gym.llm import FrozenLLM, load_llm


@pytest.fixture(scope="session")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture(scope="session")
def critic(llm: FrozenLLM) -> EmotionalCritic:
    return EmotionalCritic.for_llm(llm)
