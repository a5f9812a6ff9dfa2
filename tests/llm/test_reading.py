"""Hidden states of many texts at once are those of each text alone."""

from __future__ import annotations

import pytest
import torch

from erm_gym.llm import load_llm, read_layers
from erm_gym.llm import reading as reading_module

TEXTS = ("What is this?", "A", "The longest of the three texts, by some words at least.")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 20, 4096])
def test_states_equal_those_of_each_text_alone(
    monkeypatch: pytest.MonkeyPatch, shared: bool, batch_tokens: int
) -> None:
    monkeypatch.setattr(reading_module, "BATCH_TOKENS", batch_tokens)
    llm = load_llm("tiny")
    sequences = [llm.encode_prompt(text) for text in TEXTS]
    skip = len(llm.template) if shared else 0
    states = read_layers(llm, sequences, (0, llm.layer), shared=llm.template[:skip])
    for own, sequence in zip(states, sequences, strict=True):
        expected = llm.recompute(sequence)[1][skip:]
        assert own.shape == (len(sequence) - skip, 2, llm.hidden_size)
        torch.testing.assert_close(own[:, 1], expected, atol=1e-4, rtol=1e-4)
        embedded = llm.token_embeddings[torch.tensor(sequence[skip:])]
        torch.testing.assert_close(own[:, 0], embedded)


def test_texts_must_go_on_after_what_they_share() -> None:
    llm = load_llm("tiny")
    for bad in ([4, 5], [3]):
        with pytest.raises(ValueError, match="text 1 does not go on"):
            read_layers(llm, [[3, 4], bad], (1,), shared=[3])
