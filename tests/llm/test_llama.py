"""The short forward of Llamas: the same numbers as those of transformers, and the same weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.llm.kv_cache import Forward, KVCache, Step, TransformersForward
from erm_gym.llm.llama import LlamaForward, ResidualStream
from erm_gym.llm.tiny import build_tiny_model

ROPE = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0}
ROPE |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"attention_bias": True, "mlp_bias": True},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 1, "head_dim": 16},
    {"tie_word_embeddings": False, "rms_norm_eps": 1e-3},
    {"rope_parameters": ROPE},
]


def build(**changes: Any) -> LlamaForCausalLM:
    plain = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**{**plain, **changes}))
        for parameter in model.parameters():  # biases and norms start at zero and one
            torch.nn.init.normal_(parameter, std=0.3)
    return model.requires_grad_(False).eval()


def answers(forward: Forward) -> list[torch.Tensor]:
    """Logits and hidden states of a prefill of two rows of three, and of a decode of all three."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 50, (2, 9), generator=generator)
    cache = KVCache(3)
    cache.reserve(10)
    columns = torch.arange(9)
    causal = (columns[None] <= columns[:, None]).expand(2, 1, -1, -1)
    prefill = Step(
        cache=cache,
        ids=ids,
        positions=columns.expand(2, -1),
        mask=causal,
        last=torch.tensor([2, 8]),
        rows=torch.tensor([2, 0]),
        layers=(0, 2, 3),
    )
    lengths = torch.tensor([9, 1, 3])  # the last row goes on after its third token
    decode = Step(
        cache=cache,
        ids=torch.tensor([[7], [8], [9]]),
        positions=lengths[:, None],
        mask=(torch.arange(10)[None] <= lengths[:, None])[:, None, None],
        last=torch.tensor([0, 0, 0]),
        layers=(3,),
    )
    return [*forward(prefill), *forward(decode)]


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("changes", VARIANTS)
@torch.no_grad()
def test_it_equals_the_forward_of_transformers(changes: dict[str, Any], layer: int) -> None:
    expected = answers(TransformersForward(build(**changes), layer, 256))
    actual = answers(LlamaForward(build(**changes), layer, 256))
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 17, 32, 33])
@pytest.mark.parametrize("changes", VARIANTS[:2])
@torch.no_grad()
def test_in_bfloat16_every_number_of_rows_is_near_the_exact_one(
    changes: dict[str, Any], rows: int
) -> None:
    """Rows are added for some of them; the head is packed."""
    ids = torch.randint(0, 50, (rows, 1), generator=torch.Generator().manual_seed(1))
    zero = torch.zeros(rows, 1, dtype=torch.int64)
    answers = []
    for model in (build(**changes), build(**changes).bfloat16()):
        cache = KVCache(rows)
        cache.reserve(1)
        mask = torch.ones(rows, 1, 1, 1, dtype=torch.bool)
        step = Step(cache=cache, ids=ids, positions=zero, mask=mask, last=zero[:, 0])
        answers.append(LlamaForward(model, 2, 256)(step))
    for one, other in zip(*answers, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(other.float(), one, atol=0.1, rtol=0.05)


@torch.no_grad()
def test_joined_weights_are_the_model_s_own() -> None:
    """Bit for bit the same, held once, and the model still works."""
    model, untouched = build_tiny_model(), build_tiny_model()
    forward = LlamaForward(model.requires_grad_(False), 2, 512)
    expected = untouched.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    block = model.model.layers[1]
    attention, mlp = block.self_attn, block.mlp
    groups = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
    own = forward._blocks[1]
    for parts, joined in zip(groups, (own.qkv, own.gate_up), strict=True):
        assert isinstance(joined, partial)
        place = joined.keywords["weight"].untyped_storage().data_ptr()
        assert all(part.weight.untyped_storage().data_ptr() == place for part in parts)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids).logits, untouched(ids).logits)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "size"), [(1, 16), (20, 576), (40, 48)])
def test_the_norm_of_the_stream_is_rms_norm(rows: int, size: int, dtype: torch.dtype) -> None:
    """Also of tiny states, in which epsilon counts; sqrt(48) is no bfloat16."""
    generator = torch.Generator().manual_seed(0)
    for scale in (3.0, 1e-3, 0.0):
        states = (scale * torch.randn(rows, size, generator=generator)).to(dtype)
        weight = torch.randn(size, generator=generator).to(dtype)
        stream = ResidualStream(states, 1e-5)
        stream.add(states)
        assert torch.equal(stream.states, 2 * states)
        expected = torch.nn.functional.rms_norm(
            (2 * states).double(), (size,), weight.double(), 1e-5
        )
        error = (stream.normed(weight)[:rows] - expected).abs()
        assert bool((error <= 4 * torch.finfo(dtype).eps * expected.abs() + 1e-6).all())


def test_what_is_no_plain_llama_is_left_to_transformers() -> None:
    class Mine(LlamaForCausalLM):
        pass

    class Adapted(torch.nn.Linear):
        pass

    assert LlamaForward.fits(build())
    assert not LlamaForward.fits(Mine(build().config))
    assert not LlamaForward.fits(build(hidden_act="gelu"))
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    assert not LlamaForward.fits(build(rope_parameters=dynamic))
    hooked, adapted = build(), build()
    hooked.model.layers[0].register_forward_hook(lambda *_: None)
    assert not LlamaForward.fits(hooked)
    adapted.model.layers[1].self_attn.q_proj = Adapted(32, 32)
    assert not LlamaForward.fits(adapted)


@pytest.mark.real_model
@torch.no_grad()
def test_it_equals_the_forward_of_transformers_on_the_real_model() -> None:
    llm: FrozenLLM = load_llm()
    text = llm.encode_prompt("How do I keep a sourdough starter alive while I travel?")
    output = llm.slots(1).prefill([0], [text])
    logits, hidden = llm.recompute(text)
    torch.testing.assert_close(output.logits[0], logits[-1], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(output.hidden[0], hidden[-1], atol=1e-3, rtol=1e-4)
