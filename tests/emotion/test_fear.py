"""Dynamics of fear, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from erm_gym.emotion import FearConfig, FearModule

SIZE = 5
CALM = 1 / (1 + math.exp(2))  # an untrained danger net
NAN = math.nan


def run(module: FearModule, feedbacks: list[float], **options: Any) -> tuple[list[float], float]:
    """Total fear at each step of one row, and the tonic fear left at the end."""
    tonic, totals = module.initial_state(1), []
    for feedback in feedbacks:
        score = torch.tensor([feedback])
        phasic, felt, tonic = module.step(torch.randn(1, SIZE), tonic, score, **options)
        assert phasic.item() == pytest.approx(CALM)
        totals.append(max(phasic.item(), felt.item()))
    return totals, tonic.item()


def test_a_sequence_of_feedback_by_hand() -> None:
    totals, tonic = run(FearModule(SIZE), [NAN, -1.0, -0.5, -0.6, 1.0, NAN])
    # +.3 below -.5 only, then the total, then * .9:
    #   0 -> .3 -> .27 -> .243 + .3 = .543 -> .4887 -> .43983
    assert totals == pytest.approx([CALM, 0.3, 0.27, 0.543, 0.4887, 0.43983], abs=1e-6)
    assert tonic == pytest.approx(0.43983 * 0.9, abs=1e-6)


def test_tonic_fear_is_capped_before_the_total() -> None:
    totals, tonic = run(FearModule(SIZE), [-1.0] * 8)
    # .3, .57, .813, 1.0317 -> 1, then 1 * .9 + .3 -> 1 again
    assert totals == pytest.approx([0.3, 0.57, 0.813, 1.0, 1.0, 1.0, 1.0, 1.0], abs=1e-6)
    assert tonic == pytest.approx(0.9)


@pytest.mark.parametrize("clock", ["turn", "episode"])
def test_slow_clocks_tick_only_when_told(clock: Any) -> None:
    module = FearModule(SIZE, FearConfig(clock=clock))
    totals, tonic = run(module, [-1.0, NAN, NAN])
    assert totals == pytest.approx([0.3, 0.3, 0.3])
    assert tonic == pytest.approx(0.3)
    _, tonic = run(module, [-1.0, NAN, NAN], tick=torch.tensor([True]))
    assert tonic == pytest.approx(0.3 * 0.9**3)


def test_rows_tick_and_hurt_independently() -> None:
    tonic = torch.tensor([0.5, 0.5, 0.5, 0.5])
    feedback = torch.tensor([NAN, -1.0, NAN, -1.0])
    tick = torch.tensor([True, True, False, False])
    _, felt, following = FearModule(SIZE).step(torch.zeros(4, SIZE), tonic, feedback, tick)
    torch.testing.assert_close(felt, torch.tensor([0.5, 0.8, 0.5, 0.8]))
    torch.testing.assert_close(following, torch.tensor([0.45, 0.72, 0.5, 0.8]))


def test_the_context_is_a_leaky_mean_by_hand() -> None:
    module = FearModule(1, FearConfig(context_rate=0.25))
    context, begun = torch.tensor([[8.0], [8.0]]), torch.tensor([True, False])
    # .75 * 8 + .25 * 4 = 7; a row that begins takes the new state as it is
    pooled = module.pool(torch.tensor([[4.0], [4.0]]), context, begun)
    torch.testing.assert_close(pooled, torch.tensor([[7.0], [4.0]]))


def test_phasic_fear_is_the_larger_of_danger_and_pain() -> None:
    module = FearModule(SIZE)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    hidden = torch.randn(50, SIZE)
    danger, pain = module.danger(hidden), module.pain(hidden)
    assert (danger > pain).any() and (pain > danger).any()
    assert torch.equal(module.phasic(hidden), torch.maximum(danger, pain))


def test_untrained_nets_are_calm_and_pain_is_below_danger() -> None:
    hidden = 1000 * torch.randn(7, SIZE)
    module = FearModule(SIZE)
    torch.testing.assert_close(module.danger(hidden), torch.full((7,), CALM))
    torch.testing.assert_close(module.pain(hidden), torch.full((7,), 1 / (1 + math.exp(4))))
    assert torch.equal(module.phasic(hidden), module.danger(hidden))


def test_gradients_reach_both_nets() -> None:
    module = FearModule(SIZE)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    phasic, _, _ = module.step(torch.randn(50, SIZE), module.initial_state(50))
    phasic.sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.1}, r"FearConfig.decay is 1.1; .* between 0.0 and 1.0"),
        ({"tonic_increment": NAN}, "FearConfig.tonic_increment is nan"),
        ({"feedback_threshold": -2.0}, "FearConfig.feedback_threshold"),
        ({"clock": "minute"}, r"FearConfig.clock is 'minute'; choose from \('token'"),
    ],
)
def test_a_constant_out_of_range_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FearConfig(**options)
