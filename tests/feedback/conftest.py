"""The tiny model, kept for the whole session."""

from __future__ import annotations

import pytest

from erm_gym.llm import FrozenLLM, load_llm


@pytest.fixture(scope="session")
def llm() -> FrozenLLM:
    return load_llm("tiny")
