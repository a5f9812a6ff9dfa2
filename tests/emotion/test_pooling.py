"""Prefix attention: the scan and the steps against a plain softmax over each prefix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from erm_gym.emotion.pooling import CausalAttentionPooling

MEMBERS, QUERIES, SIZE = 2, 3, 5


@pytest.fixture(params=[True, False], ids=["with the highest", "averages alone"])
def pooling(request: pytest.FixtureRequest) -> CausalAttentionPooling:
    return CausalAttentionPooling(MEMBERS, QUERIES, SIZE, highest=request.param).double()


def positions(*batch: int) -> Tensor:
    return torch.randn(*batch, MEMBERS, SIZE, dtype=torch.float64)


def definition(pooling: CausalAttentionPooling, encoded: Tensor) -> Tensor:
    """What is pooled of a whole sequence `[B, T, M, E]`: `[B, M, P]`."""
    scores = torch.einsum("btme,mqe->btmq", encoded, pooling.query)
    average = torch.einsum("btmq,btme->bmqe", scores.softmax(1), encoded).flatten(2)
    if pooling.pooled_size == QUERIES * SIZE:
        return average
    return torch.cat([average, encoded.amax(1)], -1)


def by_prefix(pooling: CausalAttentionPooling, encoded: Tensor) -> Tensor:
    lengths = range(1, encoded.shape[1] + 1)
    return torch.stack([definition(pooling, encoded[:, :length]) for length in lengths], 1)


@pytest.mark.parametrize("sharpness", [1.0, 300.0])
@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_scan_and_steps_equal_the_softmax_over_each_prefix(
    pooling: CausalAttentionPooling, length: int, sharpness: float
) -> None:
    # Sharp scores differ by hundreds: one maximum for the whole sequence would give 0 / 0.
    pooling.query.data *= sharpness
    encoded = positions(3, length)
    expected = by_prefix(pooling, encoded)
    scanned = pooling.pooled(pooling.scan(encoded, pooling.initial_state(3)))
    torch.testing.assert_close(scanned, expected)
    state, stepped = pooling.initial_state(3), []
    for position in range(length):
        state = pooling.step(encoded[:, position], state)
        stepped.append(pooling.pooled(state))
    torch.testing.assert_close(torch.stack(stepped, 1), expected)


def test_reading_whole_sequences_equals_the_softmax(pooling: CausalAttentionPooling) -> None:
    encoded = positions(3, 6)
    mask = torch.arange(6) < torch.tensor([[6], [2], [1]])
    pooled = pooling.pooled(pooling.read(encoded, mask))
    for row, length in enumerate((6, 2, 1)):
        alone = definition(pooling, encoded[row : row + 1, :length])
        torch.testing.assert_close(pooled[row], alone[0])


def test_gradients_equal_those_of_the_softmax(pooling: CausalAttentionPooling) -> None:
    encoded = positions(2, 6).requires_grad_()
    inputs = [*pooling.parameters(), encoded]
    wanted = by_prefix(pooling, encoded)
    weights = torch.randn_like(wanted)
    scanned = pooling.pooled(pooling.scan(encoded, pooling.initial_state(2)))
    got = torch.autograd.grad((scanned * weights).sum(), inputs)
    for own, expected in zip(
        got, torch.autograd.grad((wanted * weights).sum(), inputs), strict=True
    ):
        torch.testing.assert_close(own, expected)


def test_nothing_read_pools_nothing(pooling: CausalAttentionPooling) -> None:
    assert not pooling.pooled(pooling.initial_state(2)).any()


def test_four_queries_do_what_one_query_with_four_heads_does() -> None:
    """The seed's attention, read by a linear layer, is a case of this one."""
    size, heads = 8, 4
    attention = torch.nn.MultiheadAttention(size, heads, bias=False, batch_first=True).double()
    query = torch.randn(1, 1, size, dtype=torch.float64)
    encoded = torch.randn(1, 7, size, dtype=torch.float64)
    expected, _ = attention(query, encoded, encoded)

    to_query, to_key, to_value = attention.in_proj_weight.chunk(3)
    own = (to_query @ query[0, 0]).view(heads, -1)  # [H, 2]
    keys, values = (weight.view(heads, -1, size) for weight in (to_key, to_value))  # [H, 2, 8]
    pooling = CausalAttentionPooling(1, heads, size, highest=False).double()
    pooling.query.data[0] = torch.einsum("hd,hde->he", own, keys) / (size / heads) ** 0.5
    state = pooling.scan(encoded.unsqueeze(2), pooling.initial_state(1))
    averages = pooling.pooled(state)[0, -1, 0].view(heads, size)
    read = torch.einsum("hde,he->hd", values, averages).flatten() @ attention.out_proj.weight.T
    torch.testing.assert_close(read, expected[0, 0])
