"""Edits: what changes hidden states between two layers of a frozen LM, while it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Edit = Callable[[Tensor], Tensor]
"""Maps hidden states `[n, t, d]` of n rows' new tokens to others of that shape and dtype."""

Edits = Mapping[int, Edit]
"""An edit by the number of the layer whose output it changes, 1 to the number of layers."""


def blocks_of(model: Any) -> nn.ModuleList:
    """The blocks of a transformers causal LM; hidden layer i is what block i - 1 gives.

    Args:
        model: The model.

    Raises:
        ValueError: If it has no such list.
    """
    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(model).__name__} has no list of its {count} blocks, so none is edited")


def check_edits(edits: Edits, num_layers: int) -> None:
    """Raises ValueError if a layer is none of 1 to `num_layers`."""
    for layer in edits:
        if not 1 <= layer <= num_layers:
            raise ValueError(f"layers 1 to {num_layers} can be edited; {layer} was asked for")


@contextmanager
def hooked(model: Any, edits: Edits) -> Iterator[None]:
    """Edits what the blocks of a transformers model give, through forward hooks, inside `with`.

    The hooks are gone on leaving, be it by an error. What `FrozenLLM.slots` reads is not edited
    here: its methods take the edits themselves.

    Args:
        model: A causal LM of transformers.
        edits: By layer.

    Raises:
        ValueError: If there is no such layer.
    """
    blocks = blocks_of(model)
    check_edits(edits, len(blocks))
    with ExitStack() as stack:
        for layer, edit in edits.items():
            # First of all hooks: transformers' own one keeps what a block gives as a hidden state.
            handle = blocks[layer - 1].register_forward_hook(_hook(edit), prepend=True)
            stack.callback(handle.remove)
        yield


def _hook(edit: Edit) -> Callable[[nn.Module, Any, Any], Any]:
    def changed(module: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # older blocks also give attention weights
            return (edit(output[0]), *output[1:])
        return edit(output)

    return changed
