"""Feedback connections by hand: gates, projections, both modes, and rows apart."""

from __future__ import annotations

import math

import pytest
import torch

from erm_gym.steering.feedback import FIRST_GATE, FeedbackConnections, Mode


def connections(mode: Mode = "multiplicative") -> FeedbackConnections:
    """Width 2, one layer; valence's projection is the identity, arousal's twice that."""
    made = FeedbackConnections(2, [5], signal_size=2, mode=mode)
    with torch.no_grad():
        made.projections[0, 0] = torch.eye(2)
        made.projections[0, 1] = 2.0 * torch.eye(2)
        made.gates[0] = torch.tensor([0.5, 0.1])
        made.deviations[0] = torch.tensor([10.0, 1.0])
    return made.requires_grad_(False)


def test_modulation_is_gated_and_bounded() -> None:
    signals = torch.tensor([[[0.3, -1.0], [0.2, 0.0]]])
    expected = [0.5 * math.tanh(0.3) + 0.1 * math.tanh(0.4), 0.5 * math.tanh(-1.0)]
    assert connections().modulation(5, signals)[0].tolist() == pytest.approx(expected)
    assert connections().modulation(5, 1e6 * signals).abs().max() <= 0.6 + 1e-6


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("multiplicative", [4.0 * (1 + 2 * 0.5 * math.tanh(1.0)), 3.0]),
        ("additive", [4.0 + 2 * 10 * 0.5 * math.tanh(1.0), 3.0]),
    ],
)
def test_both_modes_by_hand(mode: Mode, expected: list[float]) -> None:
    signals = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    edit = connections(mode).edit(5, signals, torch.tensor([2.0]))
    assert edit(torch.tensor([[[4.0, 3.0]]]))[0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["multiplicative", "additive"])
def test_strength_zero_and_no_signal_change_nothing(mode: Mode) -> None:
    states = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    signals = torch.ones(3, 2, 2)
    signals[1] = 0.0
    steered = connections(mode).edit(5, signals, torch.tensor([0.0, 1.0, 1.0]))(states)
    assert torch.equal(steered[:2], states[:2])
    assert not torch.allclose(steered[2], states[2])


def test_states_keep_their_precision() -> None:
    states = torch.ones(1, 1, 2, dtype=torch.bfloat16)
    for mode in ("multiplicative", "additive"):
        steered = connections(mode).edit(5, torch.ones(1, 2, 2), torch.ones(1))(states)
        assert steered.dtype == torch.bfloat16


def test_the_seed_alone_makes_the_first_weights() -> None:
    one, same, other = (FeedbackConnections(4, [1, 2], seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.projections, same.projections)
    assert not torch.equal(one.projections, other.projections)
    assert bool((one.gates == FIRST_GATE).all())


def test_errors() -> None:
    with pytest.raises(ValueError, match="layer 4 has no feedback"):
        connections().modulation(4, torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="not finite"):
        connections().modulation(5, torch.full((1, 2, 2), math.inf))
    with pytest.raises(ValueError, match="different numbers"):
        FeedbackConnections(2, [1, 1])
    with pytest.raises(ValueError, match="mode must be one of"):
        FeedbackConnections(2, [1], mode="sideways")  # type: ignore[arg-type]
