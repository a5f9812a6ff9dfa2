"""A short forward for models of the Llama family, equal to that of transformers and faster."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from erm_gym.llm.edits import check_edits
from erm_gym.llm.kv_cache import ForwardOutput, Step, additive_mask, stack_layers
from erm_gym.llm.packed import (
    PackedLinear,
    PackedPart,
    can_pack,
    fast_rows,
    join_linears,
    pack_linears,
)

ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose angles depend on the position alone."""
LENGTH_ERROR = 2**-12
"""How far, relatively, sqrt(d) may be rounded; a bfloat16 is off by up to 2**-8."""


Linear = Callable[[Tensor], Tensor]
"""Maps `[..., in]` to `[..., out]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The weights of one layer."""

    first_norm: Tensor
    """`[d]`, before the attention."""
    qkv: Linear
    """Queries, keys and values of the normed states."""
    output: Linear
    """From what was read to the states."""
    second_norm: Tensor
    """`[d]`, before the MLP."""
    gate_up: Linear
    """Gate and up projection of the normed states."""
    down: Linear
    """Back to the states."""


class LlamaForward:
    """The forward of a Llama, over a cache that it writes in place.

    Against the forward of transformers: queries, keys and values are one product, as are gate and
    up; keys are not repeated for the queries that share them; a norm is two operations and not
    eight; and nothing is decided per layer that is the same in all of them. The model's own weights
    become parts of the joined ones, so that nothing but a packed LM head is held twice and the
    model works as before. It must stay as it is from then on: what is moved, hooked or adapted
    later is not seen here.

    Source: our own; the architecture is Llama's, as transformers has it.
    """

    def __init__(self, model: LlamaForCausalLM, layer: int, context_length: int) -> None:
        """Joins the weights.

        Args:
            model: The frozen model; `fits` must be true of it.
            layer: Hidden layer that is read, 1 .. L.
            context_length: Positions that the model knows; a full row that sits out is behind them.
        """
        config: Any = model.config
        self._model = model
        self._layer = layer
        self._last_position = context_length - 1
        self._heads: int = config.num_attention_heads
        self._key_heads: int = config.num_key_value_heads
        self._size: int = model.model.layers[0].self_attn.head_dim
        self._scale = model.model.layers[0].self_attn.scaling
        self._epsilon = config.rms_norm_eps
        joined = [
            (
                join_linears(block.self_attn, "q_proj", "k_proj", "v_proj"),
                join_linears(block.mlp, "gate_proj", "up_proj"),
            )
            for block in model.model.layers
        ]
        pack_linears(model.model)
        self._blocks = [
            Block(
                first_norm=block.input_layernorm.weight,
                qkv=qkv,
                output=block.self_attn.o_proj,
                second_norm=block.post_attention_layernorm.weight,
                gate_up=gate_up,
                down=block.mlp.down_proj,
            )
            for block, (qkv, gate_up) in zip(model.model.layers, joined, strict=True)
        ]
        # A copy: the model's own head is often its embedding, which must stay a plain weight.
        head = model.lm_head
        self._head = PackedLinear(head) if can_pack(head) else head

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a model is a plain Llama, whose forward this is.

        Subclasses, adapters, quantised layers, hooks, and position embeddings that depend on the
        length of the batch are left to transformers.
        """
        if type(model) is not LlamaForCausalLM or model.config.hidden_act != "silu":
            return False
        if model.model.rotary_emb.rope_type not in ROPE_TYPES:
            return False
        if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
            return False
        return all(
            type(part) in (nn.Linear, PackedLinear, PackedPart)
            for block in model.model.layers
            for part in (
                *block.self_attn.children(),
                *(block.mlp.gate_proj, block.mlp.up_proj, block.mlp.down_proj),
            )
        )

    def __call__(self, step: Step) -> ForwardOutput:
        """Reads the new tokens; raises ValueError if there is no layer that is edited."""
        check_edits(step.edits, len(self._blocks))
        model = self._model.model
        rows, columns = step.ids.shape
        x = model.embed_tokens(step.ids)  # [n, t, d]
        cos, sin = model.rotary_emb(x, step.positions.clamp(max=self._last_position))  # [n, t, D]
        cos, sin = cos[:, :, None], _half_negated(sin)[:, :, None]  # [n, t, 1, D]
        mask = additive_mask(step.mask, x.dtype)  # [n, 1, t, T]
        rotated = self._heads + self._key_heads
        stream = ResidualStream(x.flatten(end_dim=1), self._epsilon)
        tokens = len(stream)
        wanted = set(step.layers) | {self._layer}
        states_of = {0: x}
        for index, block in enumerate(self._blocks):
            y = stream.normed(block.first_norm)
            states = block.qkv(y)[:tokens].view(rows, columns, -1, self._size)  # [n, t, H, D]
            turned = _rotate(states[:, :, :rotated], cos, sin).transpose(1, 2)  # [n, H, t, D]
            keys, values = step.write(
                index, turned[:, self._heads :], states[:, :, rotated:].transpose(1, 2)
            )
            read = F.scaled_dot_product_attention(
                turned[:, : self._heads],
                keys,
                values,
                attn_mask=mask,
                scale=self._scale,
                enable_gqa=True,
            )
            stream.add(block.output(read.transpose(1, 2).reshape(tokens, -1)))
            y = stream.normed(block.second_norm)
            gate, up = block.gate_up(y).chunk(2, dim=-1)
            stream.add(block.down(F.silu(gate).mul_(up)))
            if (edit := step.edits.get(index + 1)) is not None:
                stream.replace(edit(stream.states.view(*x.shape)).view(tokens, -1))
            if index + 1 in wanted:
                states_of[index + 1] = stream.states.clone().view(*x.shape)
        states_of[len(self._blocks)] = y = stream.normed(model.norm.weight)[:tokens].view(*x.shape)
        last = y[torch.arange(rows, device=x.device), step.last]  # [n, d]
        return ForwardOutput(
            logits=self._head(last),
            hidden=states_of[self._layer],
            last=last,
            states=stack_layers([states_of[layer] for layer in step.layers], x),
        )


class ResidualStream:
    """What the layers of a model add to, `[N, d]`, kept so that its norm is cheap.

    Behind the d numbers of a row stands `sqrt(d * epsilon)`. The length of the row is then sqrt(d)
    times its root mean square with the epsilon in it, and RMSNorm is weight normalisation, which
    torch has as one operation on a CPU; of RMSNorm it makes eight. Among the products of a decode
    every small operation takes tens of microseconds, since they flush its code from the caches.

    Source: RMSNorm: Zhang and Sennrich (2019), eq. 4; weight normalisation: Salimans and Kingma
    (2016), eq. 2.
    """

    def __init__(self, states: Tensor, epsilon: float) -> None:
        """Copies the states, and adds rows if that makes the products of them faster.

        Args:
            states: `[N, d]`.
            epsilon: Of the norms.
        """
        count, self._size = states.shape
        length = math.sqrt(self._size)
        self._wide = states.new_zeros(fast_rows(count, states), self._size + 1)
        self._wide[:, -1] = length * math.sqrt(epsilon)
        self._wide[:count, :-1] = states
        self._count = count
        self._epsilon = epsilon
        self._length = states.new_full((len(self._wide), 1), length)
        on_cpu = states.device.type == "cpu"  # elsewhere RMSNorm is one operation
        self._is_weight_norm = on_cpu and _is_exact(length, states.dtype)

    def __len__(self) -> int:
        """Number N of rows, without those added."""
        return self._count

    @property
    def states(self) -> Tensor:
        """The states `[N, d]`, a view that changes with them."""
        return self._wide[: self._count, :-1]

    def add(self, update: Tensor) -> None:
        """Adds `[N, d]`, or as many rows as `normed` gives."""
        self._wide[: len(update), :-1].add_(update)

    def replace(self, states: Tensor) -> None:
        """Puts other states `[N, d]` in their place."""
        self._wide[: self._count, :-1] = states

    def normed(self, weight: Tensor) -> Tensor:
        """RMSNorm of the states with a weight `[d]`, contiguous: N rows and those added."""
        if not self._is_weight_norm:
            return F.rms_norm(self._wide[:, :-1], (self._size,), weight, self._epsilon)
        scaled, _ = torch._weight_norm_interface(self._wide, self._length)
        return scaled[:, :-1] * weight


@cache
def _is_exact(number: float, dtype: torch.dtype) -> bool:
    """Whether a dtype holds a number well enough to be the length of a row."""
    return abs(float(torch.tensor(number, dtype=dtype)) / number - 1) < LENGTH_ERROR


def _half_negated(sin: Tensor) -> Tensor:
    """Sines `[n, t, D]` with the sign that the other half of a rotated pair gets."""
    first, second = sin.chunk(2, dim=-1)
    return torch.cat((-first, second), dim=-1)


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of `[n, t, H, D]` by `[n, t, 1, D]`, the sines half negated."""
    swapped = states.roll(states.shape[-1] // 2, dims=-1)
    return torch.addcmul(states * cos, swapped, sin)
