"""Attention pooling with one learned query, over a prefix that grows by one position at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erm_gym.emotion.state import BatchState


@dataclass(frozen=True, eq=False)
class PoolingState(BatchState):
    """What a softmax over a prefix needs to take in one more position: memory O(1) in its length.

    The attention average over positions i <= t is `numerator / denominator`, where both sums are
    scaled by `exp(-maximum)`, so that they never overflow.
    """

    maximum: Tensor
    """`[B, H]` largest attention score so far."""
    denominator: Tensor
    """`[B, H]` sum of exp(score - maximum); 0 for a row that has read nothing."""
    numerator: Tensor
    """`[B, H, E / H]` sum of exp(score - maximum) * value."""

    def merge(self, other: PoolingState) -> PoolingState:
        """Return the state of both sets of positions together (associative; broadcasts)."""
        maximum = torch.maximum(self.maximum, other.maximum)
        own, others = torch.exp(self.maximum - maximum), torch.exp(other.maximum - maximum)
        return PoolingState(
            maximum,
            self.denominator * own + other.denominator * others,
            self.numerator * own.unsqueeze(-1) + other.numerator * others.unsqueeze(-1),
        )


class CausalAttentionPooling(nn.Module):
    """Multi-head attention of one learned query over the positions read so far.

    The query is a constant, so it needs no projection, and keys have no bias, because one would add
    the same number to every score and get no gradient.

    Source: emotional reward model (the project's seed document), attention_pool. The running
    maximum, numerator and denominator follow Milakov and Gimelshein (2018), online softmax.
    """

    def __init__(self, embedding_size: int = 128, num_heads: int = 4) -> None:
        """Build the pooling.

        Args:
            embedding_size: E, size of an encoded position.
            num_heads: H, which divides E.
        """
        super().__init__()
        if embedding_size % num_heads:
            raise ValueError(
                f"embedding_size {embedding_size} is not a multiple of {num_heads} heads."
            )
        self.num_heads, self.head_size = num_heads, embedding_size // num_heads
        self.query = nn.Parameter(torch.randn(num_heads, self.head_size))
        self.key = nn.Linear(embedding_size, embedding_size, bias=False)
        self.value = nn.Linear(embedding_size, embedding_size)
        self.output = nn.Linear(embedding_size, embedding_size)

    def initial_state(self, batch_size: int) -> PoolingState:
        """Return the state of `batch_size` rows that have read nothing."""
        floor = torch.finfo(self.query.dtype).min / 2  # finite: -inf minus -inf would be nan
        return PoolingState(
            self.query.new_full((batch_size, self.num_heads), floor),
            self.query.new_zeros(batch_size, self.num_heads),
            self.query.new_zeros(batch_size, self.num_heads, self.head_size),
        )

    def step(self, encoded: Tensor, state: PoolingState) -> PoolingState:
        """Take in one more position per row.

        Args:
            encoded: `[B, E]`.
            state: What was read before.

        Returns:
            The state after it.
        """
        return state.merge(self._positions(encoded))

    def scan(
        self, encoded: Tensor, state: PoolingState, mask: Tensor | None = None
    ) -> PoolingState:
        """Take in a whole sequence and return the state after each of its positions.

        The prefixes are merged by doubling (Hillis and Steele, 1986): log2(T) batched merges rather
        than a `[T, T]` attention matrix, and as stable as taking one position at a time.

        Args:
            encoded: `[B, T, E]`.
            state: What was read before.
            mask: `[B, T]` bool, False where a position is padding and is passed over.

        Returns:
            State whose tensors have the extra dimension T after B.
        """
        prefixes = self._positions(encoded)
        if mask is not None:
            nothing = self.initial_state(1).map(lambda tensor: tensor.unsqueeze(0))
            prefixes = prefixes.where(mask, nothing)
        reach = 1
        while reach < encoded.shape[1]:
            # After this round the entry at t covers the 2 * reach positions that end at t.
            merged = _slice(prefixes, 0, -reach).merge(_slice(prefixes, reach, None))
            prefixes = _slice(prefixes, 0, reach).combine(merged, _concatenate)
            reach *= 2
        return state.map(lambda x: x.unsqueeze(1)).merge(prefixes)

    def pooled(self, state: PoolingState) -> Tensor:
        """Return the projected attention average `[..., E]` of what a state has read."""
        tiny = torch.finfo(state.denominator.dtype).tiny
        denominator = state.denominator.clamp_min(tiny).unsqueeze(-1)  # [..., H, 1]
        average = state.numerator / denominator  # [..., H, E / H]
        projected: Tensor = self.output(average.flatten(-2))
        return projected

    def _positions(self, encoded: Tensor) -> PoolingState:
        """Return the state of each position by itself, `[..., H]` and `[..., H, E / H]`."""
        keys = self.key(encoded).unflatten(-1, (self.num_heads, self.head_size))
        values = self.value(encoded).unflatten(-1, (self.num_heads, self.head_size))
        scores = (keys * self.query).sum(-1) / math.sqrt(self.head_size)  # [..., H]
        # The shift cancels in the average, so no gradient needs to pass through it.
        maximum = scores.detach()
        weight = torch.exp(scores - maximum)
        return PoolingState(maximum, weight, weight.unsqueeze(-1) * values)


def _slice(state: PoolingState, start: int, stop: int | None) -> PoolingState:
    """Return some positions, the dimension after B."""
    return state.map(lambda tensor: tensor[:, start:stop])


def _concatenate(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], 1)
