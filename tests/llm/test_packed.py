"""Packed linear maps: the numbers and the weights of plain ones, at every number of rows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from erm_gym.llm import load_llm
from erm_gym.llm.packed import (
    PackedLinear,
    PackedPart,
    can_pack,
    join_linears,
    pack_linears,
)
from erm_gym.llm.tiny import build_tiny_model

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bfloat16"
)


class Pair(nn.Module):
    def __init__(self, bias: bool, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.one = nn.Linear(48, 40, bias=bias, dtype=dtype)
            self.other = nn.Linear(48, 24, bias=bias, dtype=dtype)
        self.requires_grad_(False)


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).bfloat16()


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_it_equals_the_plain_map(rows: int, bias: bool) -> None:
    plain = Pair(bias).one
    packed = PackedLinear(plain)
    for x in (inputs(rows, 48), inputs(rows, 1, 48), inputs(48, rows).t()):
        assert_close(packed(x), plain(x))
    assert torch.equal(packed.weight, plain.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_joined_maps_equal_their_parts(dtype: torch.dtype, bias: bool) -> None:
    pair, untouched = Pair(bias, dtype), Pair(bias, dtype)
    joined = join_linears(pair, "one", "other")
    assert join_linears(pair, "one", "other")(inputs(3, 48).to(dtype)).shape == (3, 64)
    for rows in (5, 20):
        x = inputs(2, rows, 48).to(dtype)
        expected = untouched.one(x), untouched.other(x)
        assert_close(joined(x), torch.cat(expected, dim=-1))
        assert_close(pair.one(x), expected[0])
        assert_close(pair.one(2 * x), 2 * expected[0] if not bias else untouched.one(2 * x))
        assert_close(pair.other(x), expected[1])  # another input came in between
    state = untouched.state_dict()
    assert pair.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in pair.state_dict().items())


@torch.no_grad()
def test_parts_keep_nothing_once_all_were_asked_for() -> None:
    pair = Pair(bias=False)
    whole = join_linears(pair, "one", "other")
    assert isinstance(whole, PackedLinear)
    pair.one(inputs(3, 48))
    assert whole._last is not None
    pair.other(whole._last[0])
    assert whole._last is None


def test_what_cannot_be_packed_stays_as_it_is() -> None:
    class Mine(nn.Linear):
        pass

    assert can_pack(nn.Linear(4, 4, dtype=torch.bfloat16))
    assert not can_pack(nn.Linear(4, 4))
    assert not can_pack(Mine(4, 4, dtype=torch.bfloat16))
    hooked = nn.Linear(4, 4, dtype=torch.bfloat16)
    hooked.register_forward_hook(lambda *_: None)
    assert not can_pack(hooked)
    model = nn.Sequential(hooked, nn.Linear(4, 4, dtype=torch.bfloat16), nn.Linear(4, 4))
    pack_linears(model)
    assert [type(part) for part in model] == [nn.Linear, PackedLinear, nn.Linear]


@torch.no_grad()
def test_a_packed_model_works_as_before() -> None:
    """Its weights are bit for bit the same, plain ones are given up, and it can be saved."""
    untouched = build_tiny_model(dtype=torch.bfloat16)
    llm = load_llm("tiny", dtype="bfloat16")
    block = llm.model.model.layers[0]
    assert isinstance(block.self_attn.q_proj, PackedPart)
    assert isinstance(block.mlp.down_proj, PackedLinear)
    assert type(llm.model.lm_head) is nn.Linear  # its weight is the embedding's
    held = {name for name, _ in llm.model.named_parameters()}
    assert not any("proj" in name for name in held)
    expected, state = untouched.state_dict(), copy.deepcopy(llm.model.state_dict())
    assert expected.keys() == state.keys()
    assert all(torch.equal(value, expected[key]) for key, value in state.items())
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(llm.model(ids).logits, untouched(ids).logits, atol=0.1, rtol=0.1)


def test_gradients_pass() -> None:
    """Of the input only; a product without one would silently train nothing."""
    plain = Pair(bias=True).one
    packed = PackedLinear(plain)
    gradients = []
    for linear in (plain, packed):
        x = inputs(3, 48).requires_grad_()
        linear(x).float().square().sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    assert_close(gradients[1], gradients[0])
    assert float(gradients[0].abs().max()) > 0.1
