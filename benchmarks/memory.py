"""How many bytes an object holds."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from erm_gym.llm import FrozenLLM
from erm_gym.llm.kv_cache import TransformersForward
from erm_gym.llm.llama import LlamaForward
from erm_gym.llm.prefills import PrefillMemory

NOT_FOLLOWED = (
    type,
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    torch.nn.Module,
    FrozenLLM,
    LlamaForward,
    TransformersForward,
    PrefillMemory,
)
"""Weights, the bounded memory of prompts, and what leads to everything else there is."""


def held_bytes(root: Any) -> int:
    """Bytes of all arrays and tensors that an object leads to, each counted once.

    Args:
        root: Where to start; language models and networks on the way are left out.
    """
    seen: set[int] = set()
    storages: dict[int, int] = {}
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, NOT_FOLLOWED):
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            if isinstance(value.base, np.ndarray):
                todo.append(value.base)  # a view
            else:
                storages[value.ctypes.data] = value.nbytes
        else:
            todo += gc.get_referents(value)
    return sum(storages.values())
