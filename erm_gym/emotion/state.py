"""Explicit per-row state: a frozen dataclass of tensors whose first dimension is the row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BatchState:
    """Base of every recurrent state in this package.

    A subclass lists tensors of shape `[B, ...]` and other `BatchState`s; the operations below act
    on all of them. Nothing is changed in place, so keeping a reference is a snapshot, unless the
    caller itself writes into the tensors (then `clone` first).

    >>> @dataclass(frozen=True, eq=False)
    ... class Counter(BatchState):
    ...     count: Tensor
    >>> old, new = Counter(torch.zeros(2)), Counter(torch.ones(2))
    >>> new.where(torch.tensor([True, False]), old).count
    tensor([1., 0.])
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the state in which every tensor is `function(tensor)`."""
        return self.combine(self, lambda own, _: function(own))

    def combine(self, other: Self, function: Callable[[Tensor, Tensor], Tensor]) -> Self:
        """Return the state in which every tensor is `function(own, other's)`."""
        combined: dict[str, object] = {}
        for field in fields(self):
            own, others = getattr(self, field.name), getattr(other, field.name)
            if isinstance(own, BatchState):
                combined[field.name] = own.combine(others, function)
            else:
                combined[field.name] = function(own, others)
        return type(self)(**combined)

    def select(self, rows: Tensor) -> Self:
        """Return only some rows.

        Args:
            rows: `[B]` bool mask, or `[N]` int64 row numbers (which may repeat).
        """
        return self.map(lambda tensor: tensor[rows])

    def where(self, mask: Tensor, other: Self) -> Self:
        """Return this state's rows where `mask` holds and the other state's rows elsewhere.

        Args:
            mask: `[B]` bool; more leading dimensions if the state has them.
            other: State of the same shapes, or of shapes that broadcast to them.
        """

        def choose(own: Tensor, others: Tensor) -> Tensor:
            return torch.where(mask[(...,) + (None,) * (own.ndim - mask.ndim)], own, others)

        return self.combine(other, choose)

    def put(self, rows: Tensor, other: Self) -> Self:
        """Return the state in which some rows are another's.

        Args:
            rows: `[N]` int64 row numbers, each once.
            other: State of N rows.
        """
        return self.combine(other, lambda own, others: own.index_copy(0, rows, others))

    def detach(self) -> Self:
        """Return the state cut off from the autograd graph."""
        return self.map(torch.Tensor.detach)

    def clone(self) -> Self:
        """Return a copy that shares no memory with this state."""
        return self.map(torch.Tensor.clone)

    def to(self, device: torch.device | str) -> Self:
        """Return the state on another device."""
        return self.map(lambda tensor: tensor.to(device))
