"""Attention pooling with learned queries, over a prefix that grows by one position at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erm_gym.emotion.state import BatchState


@dataclass(frozen=True, eq=False)
class PoolingState(BatchState):
    """What softmaxes over a prefix need to take in one more position: memory O(1) in its length.

    The attention average over positions i <= t is `numerator / denominator`, where both sums are
    scaled by `exp(-maximum)`, so that they never overflow.
    """

    maximum: Tensor
    """`[B, M, Q]` largest attention score so far."""
    denominator: Tensor
    """`[B, M, Q]` sum of exp(score - maximum); 0 for a row that has read nothing."""
    numerator: Tensor
    """`[B, M, Q, E]` sum of exp(score - maximum) * position."""
    highest: Tensor
    """`[B, M, E]` largest value so far of each number of a position; `[B, M, 0]` if not wanted."""

    def merge(self, other: PoolingState) -> PoolingState:
        """Return the state of both sets of positions together (associative; broadcasts)."""
        maximum = torch.maximum(self.maximum, other.maximum)
        own, others = torch.exp(self.maximum - maximum), torch.exp(other.maximum - maximum)
        return PoolingState(
            maximum,
            self.denominator * own + other.denominator * others,
            self.numerator * own.unsqueeze(-1) + other.numerator * others.unsqueeze(-1),
            torch.maximum(self.highest, other.highest),
        )


class CausalAttentionPooling(nn.Module):
    """Attention of Q learned queries over the positions read so far, for each of M members.

    A query scores encoded positions themselves and averages them: nothing is projected before or
    after. The seed's attention with one query and four heads, read by a linear layer, is the case
    of four queries: head h scores a position x by q_h . K_h x = (K_h' q_h) . x, one query of full
    size, and what follows is linear. Beside the averages stands, if wanted, the largest value of
    each number over the positions.

    Source: emotional reward model (the project's seed document), attention_pool. The running
    maximum, numerator and denominator follow Milakov and Gimelshein (2018), online softmax.
    """

    def __init__(self, members: int, queries: int, size: int, *, highest: bool) -> None:
        """Build the pooling.

        Args:
            members: M, number of independent encoders.
            queries: Q, number of queries of each.
            size: E, size of an encoded position.
            highest: Whether largest values are kept beside the averages.
        """
        super().__init__()
        self.query = nn.Parameter(torch.randn(members, queries, size) / math.sqrt(size))
        self._keeps_highest = highest
        self.pooled_size = (queries + highest) * size
        """P, numbers that `pooled` gives per member."""

    def initial_state(self, batch_size: int) -> PoolingState:
        """Return the state of `batch_size` rows that have read nothing."""
        members, queries, size = self.query.shape
        floor = torch.finfo(self.query.dtype).min / 2  # finite: -inf minus -inf would be nan
        new = self.query.new_full
        return PoolingState(
            new((batch_size, members, queries), floor),
            new((batch_size, members, queries), 0.0),
            new((batch_size, members, queries, size), 0.0),
            new((batch_size, members, size if self._keeps_highest else 0), floor),
        )

    def step(self, encoded: Tensor, state: PoolingState) -> PoolingState:
        """Take in one more position per row.

        Args:
            encoded: `[B, M, E]`.
            state: What was read before.

        Returns:
            The state after it.
        """
        return state.merge(self._positions(encoded))

    def read(self, encoded: Tensor, mask: Tensor) -> PoolingState:
        """Return the state after whole sequences, for training: no prefix of them is looked at.

        Args:
            encoded: `[B, T, M, E]`.
            mask: `[B, T]` bool, False at padding; every row has a position that is none.
        """
        scores = self._scores(encoded).masked_fill(~mask[..., None, None], -math.inf)
        maximum = scores.detach().amax(1)  # [B, M, Q]
        weight = torch.exp(scores - maximum.unsqueeze(1))
        return PoolingState(
            maximum,
            weight.sum(1),
            torch.einsum("btmq,btme->bmqe", weight, encoded),
            self._kept(encoded).masked_fill(~mask[..., None, None], -math.inf).amax(1),
        )

    def scan(
        self, encoded: Tensor, state: PoolingState, mask: Tensor | None = None
    ) -> PoolingState:
        """Take in a whole sequence and return the state after each of its positions.

        The prefixes are merged by doubling (Hillis and Steele, 1986): log2(T) batched merges rather
        than a `[T, T]` attention matrix, and as stable as taking one position at a time.

        Args:
            encoded: `[B, T, M, E]`.
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
        """Return the averages and largest values `[..., M, P]` of what a state has read, or 0."""
        tiny = torch.finfo(state.denominator.dtype).tiny
        denominator = state.denominator.clamp_min(tiny).unsqueeze(-1)  # [..., M, Q, 1]
        average = (state.numerator / denominator).flatten(-2)
        has_read = state.denominator[..., :1] > 0
        return torch.cat([average, state.highest.where(has_read, 0.0)], -1)

    def _scores(self, encoded: Tensor) -> Tensor:
        """Return the attention scores `[..., M, Q]` of encoded positions `[..., M, E]`."""
        return torch.einsum("...me,mqe->...mq", encoded, self.query)

    def _positions(self, encoded: Tensor) -> PoolingState:
        """Return the state of each position by itself."""
        scores = self._scores(encoded)
        # The shift cancels in the average, so no gradient needs to pass through it.
        maximum = scores.detach()
        weight = torch.exp(scores - maximum)
        weighted = weight.unsqueeze(-1) * encoded.unsqueeze(-2)
        return PoolingState(maximum, weight, weighted, self._kept(encoded))

    def _kept(self, encoded: Tensor) -> Tensor:
        """Return what the largest values are of, which is nothing if they are not wanted."""
        return encoded if self._keeps_highest else encoded[..., :0]


def _slice(state: PoolingState, start: int, stop: int | None) -> PoolingState:
    """Return some positions, the dimension after B."""
    return state.map(lambda tensor: tensor[:, start:stop])


def _concatenate(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], 1)
