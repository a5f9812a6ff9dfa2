"""Hidden states of many texts at several layers, without a KV cache of slots."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from erm_gym.llm.frozen import FrozenLLM

BATCH_TOKENS = 2048
"""Tokens per forward, padding included, unless one text alone has more."""


@torch.no_grad()
def read_layers(
    llm: FrozenLLM,
    sequences: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    shared: Sequence[int] = (),
) -> list[Tensor]:
    """What a frozen LM makes of texts, layer by layer.

    Args:
        llm: The frozen LM.
        sequences: Token ids, one list per text; each begins with `shared` and goes on after it.
        layers: Numbers of K hidden layers; 0 is the embedding.
        shared: Tokens that all begin with. They are read once, and their states are left out.

    Returns:
        For each text its hidden states `[T, K, d]` behind `shared`, in the model's dtype, on its
        device.

    Raises:
        ValueError: If a text does not begin with `shared` or has nothing behind it.
    """
    start = len(shared)
    for number, own in enumerate(sequences):
        if tuple(own[:start]) != tuple(shared) or len(own) <= start:
            raise ValueError(f"text {number} does not go on after the {start} shared tokens")
    prefix = DynamicCache(config=llm.model.config)
    if start:
        ids = torch.tensor([list(shared)], device=llm.device)
        llm.model.base_model(input_ids=ids, past_key_values=prefix, use_cache=True)
    states: list[Tensor] = [torch.empty(0)] * len(sequences)
    for rows in _batches([len(own) - start for own in sequences]):
        read = _read(llm, [sequences[row][start:] for row in rows], layers, prefix, start)
        for row, state in zip(rows, read, strict=True):
            states[row] = state
    return states


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of texts of nearly equal lengths, as many as fit `BATCH_TOKENS`, at least one."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _read(
    llm: FrozenLLM,
    tokens: Sequence[Sequence[int]],
    layers: Sequence[int],
    prefix: DynamicCache,
    start: int,
) -> Iterator[Tensor]:
    """Hidden states `[T, K, d]` of each of a batch of texts behind a prefix."""
    width = max(map(len, tokens))
    ids = torch.zeros(len(tokens), width, dtype=torch.int64)
    mask = torch.zeros(len(tokens), start + width, dtype=torch.int64)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = torch.tensor(list(own))
        mask[row, : start + len(own)] = 1
    cache = None
    if start:
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(tokens))
    output = llm.model.base_model(
        input_ids=ids.to(llm.device),
        attention_mask=mask.to(llm.device),
        past_key_values=cache,
        use_cache=cache is not None,
        output_hidden_states=True,
    )
    hidden = torch.stack([output.hidden_states[layer] for layer in layers], dim=2)  # [n, T, K, d]
    return (hidden[row, : len(own)].clone() for row, own in enumerate(tokens))
