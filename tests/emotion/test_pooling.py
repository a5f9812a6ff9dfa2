"""Prefix attention: the scan and the steps against a plain softmax over each prefix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from erm_gym.emotion.pooling import CausalAttentionPooling


def softmax_over_prefixes(pooling: CausalAttentionPooling, encoded: Tensor) -> Tensor:
    """The definition, one prefix at a time: encoded `[B, T, E]` -> `[B, T, E]`."""
    results = []
    for length in range(1, encoded.shape[1] + 1):
        prefix = encoded[:, :length]
        keys = pooling.key(prefix).unflatten(-1, (pooling.num_heads, -1))
        values = pooling.value(prefix).unflatten(-1, (pooling.num_heads, -1))
        scores = torch.einsum("bthe,he->bth", keys, pooling.query) / pooling.head_size**0.5
        average = torch.einsum("bth,bthe->bhe", scores.softmax(1), values)
        results.append(pooling.output(average.flatten(1)))
    return torch.stack(results, 1)


@pytest.mark.parametrize("sharpness", [1.0, 300.0])
@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_scan_and_steps_equal_the_softmax_over_each_prefix(length: int, sharpness: float) -> None:
    pooling = CausalAttentionPooling(8, 2).double()
    # Sharp scores differ by hundreds: one maximum for the whole sequence would give 0 / 0.
    pooling.query.data *= sharpness
    encoded = torch.randn(3, length, 8, dtype=torch.float64)
    expected = softmax_over_prefixes(pooling, encoded)
    scanned = pooling.pooled(pooling.scan(encoded, pooling.initial_state(3)))
    torch.testing.assert_close(scanned, expected)
    state, stepped = pooling.initial_state(3), []
    for position in range(length):
        state = pooling.step(encoded[:, position], state)
        stepped.append(pooling.pooled(state))
    torch.testing.assert_close(torch.stack(stepped, 1), expected)


def test_gradients_equal_those_of_the_softmax() -> None:
    pooling = CausalAttentionPooling(8, 2).double()
    encoded = torch.randn(2, 6, 8, dtype=torch.float64)
    weights = torch.randn(2, 6, 8, dtype=torch.float64)
    parameters = list(pooling.parameters())
    scanned = pooling.pooled(pooling.scan(encoded, pooling.initial_state(2)))
    got = torch.autograd.grad((scanned * weights).sum(), parameters)
    reference = (softmax_over_prefixes(pooling, encoded) * weights).sum()
    for own, expected in zip(got, torch.autograd.grad(reference, parameters), strict=True):
        torch.testing.assert_close(own, expected)


def test_heads_must_divide_the_size() -> None:
    with pytest.raises(ValueError, match="not a multiple of 3 heads"):
        CausalAttentionPooling(8, 3)
