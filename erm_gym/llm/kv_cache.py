"""Keys and values of several texts, and how a model's forward gets at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

FIRST_CAPACITY = 64
"""Positions that a cache has room for at first."""


class KVCache:
    """Keys and values `[L, B, H, T, D]` of B rows: layers, rows, heads, positions, head size.

    Attributes:
        num_layers: Number L of layers.
        num_rows: Number B of rows.
        capacity: Number T of positions.
        keys: None until the first forward, which knows the shape and dtype.
        values: As the keys; the head size may differ.
    """

    keys: Tensor | None = None
    values: Tensor | None = None

    def __init__(self, num_layers: int, num_rows: int) -> None:
        """Allocates nothing.

        Args:
            num_layers: Number L of layers.
            num_rows: Number B of rows, >= 1.
        """
        self.num_layers = num_layers
        self.num_rows = num_rows
        self.capacity = FIRST_CAPACITY

    def allocate(self, key_like: Tensor, value_like: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and the values; made if they are missing, with heads and dtype as these have.

        Args:
            key_like: `[n, H, t, D]` any keys of one layer.
            value_like: `[n, H, t, D]` any values of one layer.

        Raises:
            ValueError: If another layer had other heads or another head size.
        """
        if self.keys is None or self.values is None:
            self.keys, self.values = self._zeros(key_like), self._zeros(value_like)
        for cached, like in ((self.keys, key_like), (self.values, value_like)):
            if (cached.shape[2], cached.shape[4]) != (like.shape[1], like.shape[3]):
                raise ValueError(
                    "this model's layers keep keys or values of different shapes, "
                    f"{tuple(cached.shape[2::2])} and {tuple(like.shape[1::2])} (heads, size), "
                    "which a slot cache cannot hold; use a model whose layers are alike"
                )
        return self.keys, self.values

    def reserve(self, positions: int) -> None:
        """Makes room for that many positions in every row, and keeps what is there."""
        if positions <= self.capacity:
            return
        while positions > self.capacity:
            self.capacity *= 2
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)

    def _grown(self, old: Tensor) -> Tensor:
        new = self._zeros(old[0])
        new[:, :, :, : old.shape[3]] = old
        return new

    def _zeros(self, like: Tensor) -> Tensor:
        _, heads, _, size = like.shape
        return like.new_zeros(self.num_layers, self.num_rows, heads, self.capacity, size)


@dataclass(frozen=True, kw_only=True)
class Step:
    """New tokens of some rows of a cache, which one forward reads."""

    cache: KVCache
    """Where their keys and values go, and those before them are."""
    ids: Tensor
    """Tokens `[n, t]`."""
    positions: Tensor
    """Where each token stands in its row, `[n, t]`."""
    mask: Tensor
    """Which positions of its row each token may look at, `[n, 1, t, T]` bool."""
    keep: Tensor
    """Columns of `ids` whose logits are wanted, `[m]`."""
    rows: Tensor | None = None
    """Rows of the cache, `[n]`; None if they are all of them, in order."""

    @cached_property
    def _places(self) -> tuple[Tensor, slice, Tensor]:
        """Index of the new tokens in keys or values; the same in every layer."""
        rows = self.rows
        if rows is None:
            rows = torch.arange(len(self.ids), device=self.ids.device)
        return rows[:, None], slice(None), self.positions

    def write(self, cached: Tensor, states: Tensor) -> Tensor:
        """Puts one layer's new states in their places.

        Args:
            cached: `[B, H, T', D]` keys or values of the layer.
            states: `[n, H, t, D]` the new ones.

        Returns:
            `[n, H, T, D]` all that the mask may look at; a view if the step is of all rows.
        """
        cached[self._places] = states.transpose(1, 2)
        seen = cached if self.rows is None else cached[self.rows]
        return seen[:, :, : self.mask.shape[-1]]


class ForwardOutput(NamedTuple):
    """What a forward gives; all in the model's dtype."""

    logits: Tensor
    """`[n, m, V]` of the kept columns."""
    hidden: Tensor
    """`[n, t, d]` of the layer that is read."""
    last: Tensor
    """`[n, m, d]` of the kept columns, the input of the LM head."""


class Forward(Protocol):
    """One forward of a model over the new tokens of a step."""

    def __call__(self, step: Step) -> ForwardOutput:
        """Reads the new tokens."""


class _Layer(CacheLayerMixin):
    """One layer of the cache, as transformers wants to see it."""

    is_sliding = False

    def __init__(self, index: int, step: Step) -> None:
        super().__init__()
        self.index = index
        self.step = step
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the cache allocates itself."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes new positions `[n, H, t, D]`; returns all that the mask may look at."""
        keys, values = self.step.cache.allocate(key_states, value_states)
        return (
            self.step.write(keys[self.index], key_states),
            self.step.write(values[self.index], value_states),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys; unused, since the mask is given."""
        return self.step.mask.shape[-1], 0

    def get_seq_length(self) -> int:
        """Positions before the new ones; unused, since the positions are given."""
        return 0

    def get_max_length(self) -> int:
        """Positions allocated."""
        return self.step.cache.capacity


class TransformersForward:
    """The forward of any transformers model that takes a 4-D mask and `position_ids`."""

    def __init__(self, model: Any, layer: int, context_length: int) -> None:
        """Remembers the model.

        Args:
            model: A causal LM of transformers.
            layer: Hidden layer that is read.
            context_length: Positions that the model knows; a full row that sits out is behind them.
        """
        self._model = model
        self._layer = layer
        self._last_position = context_length - 1

    def __call__(self, step: Step) -> ForwardOutput:
        """Reads the new tokens."""
        mask = step.mask
        if self._model.config._attn_implementation == "eager":
            # Eager attention adds its mask to the scores instead of choosing by it.
            mask = additive_mask(mask, self._model.dtype)
        output = self._model(
            input_ids=step.ids,
            position_ids=step.positions.clamp(max=self._last_position),
            attention_mask=mask,
            past_key_values=Cache(layers=[_Layer(i, step) for i in range(step.cache.num_layers)]),
            use_cache=True,
            output_hidden_states=True,
            logits_to_keep=step.keep,
        )
        return ForwardOutput(
            logits=output.logits,
            hidden=output.hidden_states[self._layer],
            last=output.hidden_states[-1][:, step.keep],
        )


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to scores, in a dtype: 0 where `mask` is true, its lowest number elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
