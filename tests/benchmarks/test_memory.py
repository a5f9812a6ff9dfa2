"""Bytes held: each array once, views not again, weights not at all."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.memory import held_bytes


class Holder:
    def __init__(self) -> None:
        tensor = torch.zeros(10, 3)  # 120 bytes
        array = np.zeros(7)  # 56 bytes
        self.parts = {"one": [tensor, tensor[2:]], "other": (array, array[1:])}
        self.net = torch.nn.Linear(5, 5)


def test_every_array_counts_once() -> None:
    assert held_bytes(Holder()) == 120 + 56
    assert held_bytes([Holder(), Holder()]) == 2 * (120 + 56)


def test_only_a_view_is_held() -> None:
    assert held_bytes([np.zeros(8)[2:]]) == 64
