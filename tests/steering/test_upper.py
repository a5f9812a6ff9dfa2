"""Upper layers run apart equal the whole model, steered and not."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.llm.edits import hooked
from erm_gym.llm.tiny import build_tiny_tokenizer
from erm_gym.steering.upper import MOST_TOKENS, UpperLayers

TEXTS = ["I am glad.", "No!", "What a terrible, terrible day it was for all of us."]


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@torch.no_grad()
def whole(llm: FrozenLLM, text: str, layer: int) -> torch.Tensor:
    """Mean state of a text's own tokens, from a forward of the whole model."""
    tokens = [llm.template[0], *llm.encode_text(text)]
    output = llm.model(torch.tensor([tokens]), output_hidden_states=True, use_cache=False)
    mean: torch.Tensor = output.hidden_states[layer][0, 1:].mean(dim=0)
    return mean


@torch.no_grad()
def test_without_edits_it_is_the_model(llm: FrozenLLM) -> None:
    upper = UpperLayers(llm, 1, 3)
    pooled = upper.pooled(upper.read(TEXTS), [2, 0, 1], {})
    for row, text in enumerate((TEXTS[2], TEXTS[0], TEXTS[1])):
        torch.testing.assert_close(pooled[row], whole(llm, text, 3), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_edits_are_those_of_hooks_on_the_text_s_own_tokens(llm: FrozenLLM) -> None:
    upper = UpperLayers(llm, 1, 3)
    edits = {layer: lambda states: states * 1.5 + 0.1 for layer in (1, 2)}
    pooled = upper.pooled(upper.read(TEXTS[:1]), [0], edits)[0]

    def own(states: torch.Tensor) -> torch.Tensor:
        return torch.cat((states[:, :1], states[:, 1:] * 1.5 + 0.1), dim=1)

    with hooked(llm.model, {1: own, 2: own}):
        expected = whole(llm, TEXTS[0], 3)
    torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(expected, whole(llm, TEXTS[0], 3))


def test_gradients_reach_what_edits(llm: FrozenLLM) -> None:
    upper = UpperLayers(llm, 1, 3)
    factor = torch.ones(1, requires_grad=True)
    upper.pooled(upper.read(TEXTS), [0, 1], {1: lambda states: states * factor}).sum().backward()
    assert factor.grad is not None
    assert factor.grad.abs() > 0


def test_batches_have_every_text_once(llm: FrozenLLM) -> None:
    lower = UpperLayers(llm, 0, 1).read(TEXTS * 2)
    assert sorted(row for batch in lower.batches() for row in batch) == list(range(6))
    assert len(lower.select([0]).rows[0]) == 1 + len(llm.encode_text(TEXTS[0]))


def test_long_texts_are_cut(llm: FrozenLLM) -> None:
    [row] = UpperLayers(llm, 0, 1).read(["word " * MOST_TOKENS]).rows
    assert len(row) == 1 + MOST_TOKENS


def test_errors(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="first=2 and last=2"):
        UpperLayers(llm, 2, 2)
    with pytest.raises(ValueError, match="first=1 and last=4"):  # the top layer is normed
        UpperLayers(llm, 1, 4)
    upper = UpperLayers(llm, 1, 3)
    with pytest.raises(ValueError, match="text 1 is empty"):
        upper.read(["a", ""])
    with pytest.raises(ValueError, match="layers 1 to 2 can be edited here; 3"):
        upper.pooled(upper.read(["a"]), [0], {3: lambda states: states})
    config = GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=300, n_positions=64)
    config.bos_token_id = config.eos_token_id = 0
    gpt = AutoModelForCausalLM.from_config(config)
    other = FrozenLLM(gpt, build_tiny_tokenizer(), name="gpt", source="test")
    with pytest.raises(ValueError, match="gpt has no rotary position embedding"):
        UpperLayers(other, 0, 1)
