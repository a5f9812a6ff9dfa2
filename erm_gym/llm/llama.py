"""A short forward for models of the Llama family, equal to that of transformers and faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from erm_gym.llm.kv_cache import ForwardOutput, Step, additive_mask
from erm_gym.llm.packed import PackedLinear, PackedPart, join_linears

ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose angles depend on the position alone."""


class LlamaForward:
    """The forward of a Llama, over a cache that it writes in place.

    Against the forward of transformers: queries, keys and values are one product, as are gate and
    up; keys are not repeated for the queries that share them; and nothing is decided per layer
    that is the same in all of them. The model's own weights become parts of the joined ones, so
    that nothing is held twice and the model works as before. It must stay as it is from then on:
    what is moved, hooked or adapted later is not seen here.

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
        self._joined = [
            (
                join_linears(block.self_attn, "q_proj", "k_proj", "v_proj"),
                join_linears(block.mlp, "gate_proj", "up_proj"),
            )
            for block in model.model.layers
        ]

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
        """Reads the new tokens."""
        model = self._model.model
        rows, columns = step.ids.shape
        x = model.embed_tokens(step.ids)  # [n, t, d]
        width = x.shape[-1:]
        cos, sin = model.rotary_emb(x, step.positions.clamp(max=self._last_position))  # [n, t, D]
        cos, sin = cos[:, :, None], _half_negated(sin)[:, :, None]  # [n, t, 1, D]
        mask = additive_mask(step.mask, x.dtype)  # [n, 1, t, T]
        rotated = self._heads + self._key_heads
        wanted = x
        for index, (block, (qkv, gate_up)) in enumerate(
            zip(model.layers, self._joined, strict=True)
        ):
            y = F.rms_norm(x, width, block.input_layernorm.weight, self._epsilon)
            states = qkv(y).view(rows, columns, -1, self._size)  # [n, t, H, D]
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
            read = block.self_attn.o_proj(read.transpose(1, 2).reshape(rows, columns, -1))
            x = read.add_(x)  # never into x itself, which may be wanted
            y = F.rms_norm(x, width, block.post_attention_layernorm.weight, self._epsilon)
            gate, up = gate_up(y).chunk(2, dim=-1)
            x = block.mlp.down_proj(F.silu(gate).mul_(up)).add_(x)
            if index + 1 == self._layer:
                wanted = x
        last = x[torch.arange(rows, device=x.device), step.last]  # [n, d]
        last = F.rms_norm(last, width, model.norm.weight, self._epsilon)
        if self._layer == len(model.layers):
            wanted = F.rms_norm(x, width, model.norm.weight, self._epsilon)
        return ForwardOutput(logits=self._model.lm_head(last), hidden=wanted, last=last)


def _half_negated(sin: Tensor) -> Tensor:
    """Sines `[n, t, D]` with the sign that the other half of a rotated pair gets."""
    first, second = sin.chunk(2, dim=-1)
    return torch.cat((-first, second), dim=-1)


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of `[n, t, H, D]` by `[n, t, 1, D]`, the sines half negated."""
    swapped = states.roll(states.shape[-1] // 2, dims=-1)
    return torch.addcmul(states * cos, swapped, sin)
