"""Keys and values of several texts, and how a model's forward gets at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from erm_gym.llm.edits import Edits, hooked
from erm_gym.llm.packed import pack_linears

GROWTH = 8
"""Positions by which a cache grows: what is reserved beyond the longest row is never more."""

Layers = dict[int, tuple[Tensor, Tensor]]
"""Keys and values of n rows, `[n, H, T, D]` each, by the number of the layer."""


class KVCache:
    """Keys and values of B rows of at most T positions.

    Attributes:
        num_rows: Number B of rows.
        capacity: Number T of positions.
        layers: Keys `[B, H, T, D]` and values by layer; empty until the first forward, which
            knows their shapes and dtype.
    """

    def __init__(self, num_rows: int) -> None:
        """Allocates nothing.

        Args:
            num_rows: Number B of rows, >= 1.
        """
        self.num_rows = num_rows
        self.capacity = 0
        self.layers: Layers = {}

    def layer(self, index: int, key_like: Tensor, value_like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer; made if they are missing, with heads and dtype as these have.

        Args:
            index: Number of the layer.
            key_like: `[n, H, t, D]` any keys of the layer.
            value_like: `[n, H, t, D]` any values of the layer; their D may be another one.
        """
        if index not in self.layers:
            capacity = self.capacity
            self.layers[index] = (
                self._empty(key_like, capacity),
                self._empty(value_like, capacity),
            )
        return self.layers[index]

    def reserve(self, positions: int) -> None:
        """Makes room for that many positions in every row, and keeps what is there."""
        if positions <= self.capacity:
            return
        capacity = -(-positions // GROWTH) * GROWTH
        for index, (keys, values) in self.layers.items():  # one by one: never all of it twice
            self.layers[index] = self._grown(keys, capacity), self._grown(values, capacity)
        self.capacity = capacity  # last: what was interrupted is done again

    def scrub(self, lengths: Tensor) -> None:
        """Forgets what is behind every row's text: a mask hides numbers, but no nan.

        Args:
            lengths: Positions of every row, `[B]` int64.
        """
        for keys, values in self.layers.values():
            places = torch.arange(keys.shape[2], device=keys.device)
            behind = (places >= lengths.to(keys.device)[:, None])[:, None, :, None]
            keys.masked_fill_(behind, 0.0)
            values.masked_fill_(behind, 0.0)

    def copy(self, rows: Sequence[int], start: int, stop: int) -> Layers:
        """Copies of n rows' positions from `start` up to `stop`."""
        where = (list(rows), slice(None), slice(start, stop))
        return {
            index: (keys[where], values[where]) for index, (keys, values) in self.layers.items()
        }

    def paste(self, rows: Sequence[int], start: int, copied: Layers) -> None:
        """Writes n rows' positions from `start` on; one copied row goes into all of the rows."""
        stop = start + max((keys.shape[2] for keys, _ in copied.values()), default=0)
        self.reserve(stop)
        where = (list(rows), slice(None), slice(start, stop))
        for index, states in copied.items():
            for cached, state in zip(self.layer(index, *states), states, strict=True):
                cached[where] = state

    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return nbytes(self.layers)

    def _grown(self, old: Tensor, capacity: int) -> Tensor:
        new = self._empty(old, capacity)
        new[:, :, : old.shape[2]] = old
        return new

    def _empty(self, like: Tensor, capacity: int) -> Tensor:
        _, heads, _, size = like.shape
        return like.new_zeros(self.num_rows, heads, capacity, size)


def nbytes(layers: Layers) -> int:
    """Bytes of keys and values."""
    return sum(keys.nbytes + values.nbytes for keys, values in layers.values())


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
    last: Tensor
    """Column of `ids` whose logits are wanted, `[n]`."""
    rows: Tensor | None = None
    """Rows of the cache, `[n]`; None if they are all of them, in order."""
    layers: tuple[int, ...] = ()
    """Numbers of the L further layers whose hidden states are wanted; 0 is the embedding."""
    edits: Edits = field(default_factory=dict)
    """What changes the new tokens' hidden states, by layer."""

    @cached_property
    def _places_by_shape(self) -> dict[tuple[int, int], Tensor]:
        """What `_places` found before: nearly all layers have the same shape."""
        return {}

    def _places(self, heads: int, capacity: int) -> Tensor:
        """Where the new tokens stand in keys or values `[B * H * T]`, `[n * t * H]` int64."""
        shape = heads, capacity
        if shape not in self._places_by_shape:
            device = self.ids.device
            rows = torch.arange(len(self.ids), device=device) if self.rows is None else self.rows
            starts = rows[:, None] * heads + torch.arange(heads, device=device)  # [n, H]
            places = starts[:, None] * capacity + self.positions[:, :, None]  # [n, t, H]
            self._places_by_shape[shape] = places.flatten()
        return self._places_by_shape[shape]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Puts one layer's new keys and values in their places.

        Args:
            layer: Number of the layer.
            keys: `[n, H, t, D]` the new ones.
            values: `[n, H, t, D]` the new ones.

        Returns:
            Keys and values `[n, H, T, D]`, all that the mask may look at; views if the step is of
            all rows.
        """
        seen = []
        for cached, new in zip(self.cache.layer(layer, keys, values), (keys, values), strict=True):
            states = new.transpose(1, 2).flatten(end_dim=2)  # [n * t * H, D]
            places = self._places(*cached.shape[1:3])  # its own T: growing may be half done
            cached.view(-1, states.shape[-1]).index_copy_(0, places, states)
            own = cached if self.rows is None else cached[self.rows]
            seen.append(own[:, :, : self.mask.shape[-1]])
        return seen[0], seen[1]


class ForwardOutput(NamedTuple):
    """What a forward gives; all in the model's dtype."""

    logits: Tensor
    """`[n, V]` at the wanted columns."""
    hidden: Tensor
    """`[n, t, d]` of the layer that is read."""
    last: Tensor
    """`[n, d]` at the wanted columns, the input of the LM head."""
    states: Tensor
    """`[n, t, L, d]` of the layers that the step asks for."""


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
        return self.step.write(self.index, key_states, value_states)

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
        """Packs the model's weights.

        Args:
            model: A causal LM of transformers.
            layer: Hidden layer that is read.
            context_length: Positions that the model knows; a full row that sits out is behind them.
        """
        self._model = model
        pack_linears(model.base_model)  # not the head, whose weight may be the embedding
        self._num_layers = model.config.get_text_config().num_hidden_layers
        self._layer = layer
        self._last_position = context_length - 1

    def __call__(self, step: Step) -> ForwardOutput:
        """Reads the new tokens."""
        mask = step.mask
        if self._model.config._attn_implementation == "eager":
            # Eager attention adds its mask to the scores instead of choosing by it.
            mask = additive_mask(mask, self._model.dtype)
        kept, index = torch.unique(step.last, return_inverse=True)
        each = torch.arange(len(step.ids), device=step.ids.device)
        with hooked(self._model, step.edits):
            output = self._model(
                input_ids=step.ids,
                position_ids=step.positions.clamp(max=self._last_position),
                attention_mask=mask,
                past_key_values=Cache(layers=[_Layer(i, step) for i in range(self._num_layers)]),
                use_cache=True,
                output_hidden_states=True,
                logits_to_keep=kept,
            )
        return ForwardOutput(
            logits=output.logits[each, index],
            hidden=output.hidden_states[self._layer],
            last=output.hidden_states[-1][each, step.last],
            states=stack_layers(
                [output.hidden_states[layer] for layer in step.layers], output.hidden_states[0]
            ),
        )


def stack_layers(states: list[Tensor], like: Tensor) -> Tensor:
    """Hidden states `[n, t, d]` of L layers as one tensor `[n, t, L, d]`; L may be 0.

    Args:
        states: One per layer.
        like: `[n, t, d]`, of any layer.
    """
    return torch.stack(states, dim=2) if states else like.unsqueeze(2)[:, :, :0]


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to scores, in a dtype: 0 where `mask` is true, its lowest number elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
