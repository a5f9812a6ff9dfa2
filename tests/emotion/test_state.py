"""Operations on the rows of a nested state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.emotion.state import BatchState


@dataclass(frozen=True, eq=False)
class Inner(BatchState):
    matrix: Tensor


@dataclass(frozen=True, eq=False)
class Outer(BatchState):
    inner: Inner
    vector: Tensor


def state(value: float) -> Outer:
    return Outer(Inner(torch.full((3, 2), value)), torch.full((3,), value))


def test_where_takes_whole_rows_from_either_state() -> None:
    mixed = state(1.0).where(torch.tensor([True, False, True]), state(2.0))
    assert mixed.vector.tolist() == [1.0, 2.0, 1.0]
    assert mixed.inner.matrix.tolist() == [[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]


def test_select_by_mask_and_by_number() -> None:
    rows = state(0.0).map(lambda x: x + torch.arange(3.0).view(-1, *[1] * (x.ndim - 1)))
    assert rows.select(torch.tensor([True, False, True])).vector.tolist() == [0.0, 2.0]
    assert rows.select(torch.tensor([2, 2])).inner.matrix.tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_put_replaces_rows_and_leaves_the_old_state() -> None:
    old = state(1.0)
    new = old.put(torch.tensor([2, 0]), state(5.0).select(torch.tensor([0, 1])))
    assert new.vector.tolist() == [5.0, 1.0, 5.0] and old.vector.tolist() == [1.0, 1.0, 1.0]


def test_a_clone_shares_no_memory_and_detach_cuts_the_graph() -> None:
    original = state(1.0).map(lambda x: x.requires_grad_() * 2)
    snapshot, cut = original.clone(), original.detach()
    assert original.inner.matrix.requires_grad and not cut.inner.matrix.requires_grad
    cut.inner.matrix.zero_()  # shares memory with the original
    assert original.inner.matrix.sum() == 0 and snapshot.inner.matrix.sum() == 12
