"""Texts whose feelings are in their letters, and what the tiny model makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import GOEMOTIONS, label_matrix
from erm_gym.llm import FrozenLLM, load_llm

FEELINGS = {"fear": "qqq", "curiosity": "???", "anger": "!!!", "joy": "ooo", "neutral": "---"}


@pytest.fixture(scope="session")
def tiny() -> FrozenLLM:
    return load_llm("tiny", dtype="bfloat16")


@pytest.fixture(scope="session")
def labelled() -> LabelledTexts:
    """300 texts, one feeling each."""
    names = [list(FEELINGS)[number % len(FEELINGS)] for number in range(300)]
    texts = [f"{number % 7} {FEELINGS[name]} {number}" for number, name in enumerate(names)]
    values = label_matrix([[GOEMOTIONS.index(name)] for name in names])
    return LabelledTexts(source="feelings", texts=texts, values=values)


@pytest.fixture(scope="session")
def rated() -> LabelledTexts:
    """120 texts that are pleasant, or lively, or neither."""
    texts = [f"{'ooo' if n % 2 else '---'} {'!!!' if n % 3 else '...'} {n}" for n in range(120)]
    values = torch.tensor([[2.0 + n % 2, 4.0 if n % 3 else 2.5, 3.0 + n % 2] for n in range(120)])
    return LabelledTexts(source="ratings", texts=texts, values=values)


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the hidden states, shared by all tests."""
    return tmp_path_factory.mktemp("states")
