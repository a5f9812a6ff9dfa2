"""Two small tokenizers, one with words and one with bytes, and a stand-in for a frozen model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from erm_gym.emotion.categories import FUNCTION_WORDS, PHRASES, REVERSED_WORDS


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def byte_level_bpe(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """Every word of the phrases, and every function word, is one token in each of its forms."""
    words = {word for phrases in PHRASES.values() for phrase in phrases for word in phrase.split()}
    words |= FUNCTION_WORDS | REVERSED_WORDS
    forms = [form for word in sorted(words) for form in (word, word.capitalize())]
    texts = [text for form in forms for text in (form, f" {form}")]
    return byte_level_bpe(texts * 2, vocab_size=4000)


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    return byte_level_bpe([], vocab_size=256)


@pytest.fixture
def llm(word_tokenizer: PreTrainedTokenizerFast) -> Any:
    """What the critic needs to know of a frozen language model."""
    return SimpleNamespace(
        name="stand-in",
        fingerprint="stand-in-0",
        hidden_size=12,
        vocab_size=len(word_tokenizer) + 3,
        layer=2,
        num_layers=8,
        tokenizer=word_tokenizer,
        device=torch.device("cpu"),
    )
