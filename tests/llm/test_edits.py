"""Edits of hidden states: the same through hooks and in the short forward, and gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config

from erm_gym.llm import load_llm
from erm_gym.llm.edits import blocks_of, hooked
from erm_gym.llm.kv_cache import Forward, KVCache, Step, TransformersForward
from erm_gym.llm.llama import LlamaForward
from erm_gym.llm.tiny import build_tiny_model

ROWS = 3


def doubled(states: Tensor) -> Tensor:
    return states * 2.0


def per_row(states: Tensor) -> Tensor:
    return states + torch.arange(ROWS, dtype=states.dtype)[:, None, None]


def read(forward: Forward, edits: dict[int, Any], layers: tuple[int, ...] = ()) -> list[Tensor]:
    """Four tokens of each of three rows, in one forward."""
    cache = KVCache(ROWS)
    cache.reserve(4)
    columns = torch.arange(4)
    step = Step(
        cache=cache,
        ids=torch.arange(12).view(ROWS, 4),
        positions=columns.expand(ROWS, -1),
        mask=(columns[None] <= columns[:, None]).expand(ROWS, 1, -1, -1),
        last=torch.full((ROWS,), 3),
        layers=layers,
        edits=edits,
    )
    return list(forward(step))


@pytest.mark.parametrize("edits", [{1: doubled}, {1: per_row, 2: doubled}])
@torch.no_grad()
def test_both_forwards_edit_alike(edits: dict[int, Any]) -> None:
    layers = (0, 1, 2)
    plain = read(LlamaForward(build_tiny_model(), 2, 64), {}, layers)
    own = read(LlamaForward(build_tiny_model(), 2, 64), edits, layers)
    others = read(TransformersForward(build_tiny_model(), 2, 64), edits, layers)
    assert not torch.allclose(own[0], plain[0])
    for one, other in zip(own, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_edit_gets_what_its_layer_gives_and_the_next_reads_what_it_returns() -> None:
    seen: dict[str, Tensor] = {}

    def look(states: Tensor) -> Tensor:
        seen["before"] = states.clone()
        return states * 0.0 + 1.0

    forward = LlamaForward(build_tiny_model(), 1, 64)
    (plain,) = read(forward, {}, (1,))[3].unbind(2)
    (edited,) = read(forward, {1: look}, (1,))[3].unbind(2)
    assert torch.equal(seen["before"], plain)
    assert torch.equal(edited, torch.ones_like(plain))


@torch.no_grad()
def test_an_edit_that_changes_nothing_is_bit_identical() -> None:
    forward = LlamaForward(build_tiny_model(), 1, 64)
    for one, other in zip(read(forward, {1: lambda x: x}), read(forward, {}), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_rows_that_are_not_edited_stay_bit_identical() -> None:
    forward = LlamaForward(build_tiny_model(), 1, 64)
    plain, edited = read(forward, {}), read(forward, {1: per_row})  # adds 0 to row 0
    assert torch.equal(plain[0][0], edited[0][0])
    assert not torch.allclose(plain[0][1:], edited[0][1:])


@torch.no_grad()
def test_a_decoded_token_is_edited_and_the_next_one_looks_at_what_was_edited() -> None:
    llm = load_llm("tiny")
    prompt, tokens = list(range(5)), torch.tensor([7])
    slots = llm.slots(1)
    slots.prefill([0], [prompt])
    slots.decode(tokens, edits={1: doubled})
    after = slots.decode(torch.tensor([8]))

    def only_the_sixth(states: Tensor) -> Tensor:
        return torch.cat((states[:, :5], states[:, 5:6] * 2.0, states[:, 6:]), dim=1)

    with hooked(llm.model, {1: only_the_sixth}):
        expected, _ = llm.recompute([*prompt, 7, 8])
    torch.testing.assert_close(after.logits[0], expected[-1], atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_hooks_are_gone_afterwards_even_by_an_error() -> None:
    llm = load_llm("tiny")
    before, _ = llm.recompute([1, 2, 3])
    hooks = [len(block._forward_hooks) for block in blocks_of(llm.model)]
    with pytest.raises(RuntimeError, match="stopped"), hooked(llm.model, {1: doubled}):
        assert not torch.allclose(llm.recompute([1, 2, 3])[0], before)
        raise RuntimeError("stopped")
    assert torch.equal(llm.recompute([1, 2, 3])[0], before)
    assert [len(block._forward_hooks) for block in blocks_of(llm.model)] == hooks


@torch.no_grad()
def test_models_that_are_no_llamas_are_edited_too() -> None:
    config = GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=20, n_positions=16)
    config.bos_token_id = config.eos_token_id = 0
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.tensor([[1, 2, 3]])
    plain = model(ids, output_hidden_states=True)
    with hooked(model, {1: doubled}):
        edited = model(ids, output_hidden_states=True)
    assert torch.equal(edited.hidden_states[1], plain.hidden_states[1] * 2.0)
    assert not torch.allclose(edited.logits, plain.logits)


@pytest.mark.parametrize("layer", [0, 5])
def test_layers_that_are_not_there_are_errors(layer: int) -> None:
    expected = pytest.raises(ValueError, match=f"layers 1 to 4 can be edited; {layer}")
    for forward in (LlamaForward, TransformersForward):
        with expected:
            read(forward(build_tiny_model(), 2, 64), {layer: doubled})
    with expected, hooked(build_tiny_model(), {layer: doubled}):
        pass
