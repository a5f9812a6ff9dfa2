"""A short forward for models of the Llama family, equal to that of transformers and faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from erm_gym.llm.kv_cache import ForwardOutput, Step, additive_mask

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
        self._joined = []
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            self._joined.append(
                (
                    _join(attention.q_proj, attention.k_proj, attention.v_proj),
                    _join(mlp.gate_proj, mlp.up_proj),
                )
            )

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
            type(part) is nn.Linear
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
        cos, sin = model.rotary_emb(x, step.positions.clamp(max=self._last_position))  # [n, t, D]
        cos, sin = cos[:, :, None], sin[:, :, None]
        mask = additive_mask(step.mask, x.dtype)  # [n, 1, t, T]
        rotated = self._heads + self._key_heads
        wanted = x
        for index, block in enumerate(model.layers):
            (qkv_weight, qkv_bias), (up_weight, up_bias) = self._joined[index]
            y = F.rms_norm(x, x.shape[-1:], block.input_layernorm.weight, self._epsilon)
            qkv = F.linear(y, qkv_weight, qkv_bias).view(rows, columns, -1, self._size)
            turned = _rotate(qkv[:, :, :rotated], cos, sin).transpose(1, 2)  # [n, H, t, D]
            keys, values = step.write(
                index, turned[:, self._heads :], qkv[:, :, rotated:].transpose(1, 2)
            )
            read = F.scaled_dot_product_attention(
                turned[:, : self._heads],
                keys,
                values,
                attn_mask=mask,
                scale=self._scale,
                enable_gqa=True,
            )
            x = x + block.self_attn.o_proj(read.transpose(1, 2).reshape(rows, columns, -1))
            y = F.rms_norm(x, x.shape[-1:], block.post_attention_layernorm.weight, self._epsilon)
            gate, up = F.linear(y, up_weight, up_bias).chunk(2, dim=-1)
            x = x + block.mlp.down_proj(F.silu(gate) * up)
            if index + 1 == self._layer:
                wanted = x
        last = x[torch.arange(rows, device=x.device), step.last]  # [n, d]
        last = F.rms_norm(last, x.shape[-1:], model.norm.weight, self._epsilon)
        if self._layer == len(model.layers):
            wanted = F.rms_norm(x, x.shape[-1:], model.norm.weight, self._epsilon)
        return ForwardOutput(logits=self._model.lm_head(last), hidden=wanted, last=last)


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of `[n, t, H, D]` by `[n, t, 1, D]`."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def _join(*parts: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of linear maps of the same input as one; theirs become views of it."""
    weight = torch.cat([*(part.weight for part in parts)])
    biases: list[Tensor] = [part.bias for part in parts if part.bias is not None]
    bias = torch.cat(biases) if biases else None
    start = 0
    for part in parts:
        end = start + part.out_features
        part.weight = nn.Parameter(weight[start:end], requires_grad=False)
        if bias is not None:
            part.bias = nn.Parameter(bias[start:end], requires_grad=False)
        start = end
    return weight, bias
