"""Settings of steering."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch

from erm_gym.steering import BINNINGS, Approach, SteeringConfig, SteeringError, SteeringSignals
from erm_gym.steering.config import choose_signals


@pytest.mark.parametrize(
    ("name", "strength"), [("conservative", 1.0), ("balanced", 1.5), ("peak", 2.0)]
)
def test_presets(name: str, strength: float) -> None:
    config = SteeringConfig.preset(name, approach="dual")
    assert (config.strength, config.approach) == (strength, "dual")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"approach": "dul"}, "dual, valence-only, arousal-only, valence-single-layer"),
        ({"binning": "10-bin"}, "one of 9-bin, 25-bin"),
        ({"strength": math.nan}, "strength must be finite"),
        ({"strength": -1.0}, "at least 0"),
        ({"target_layers": ()}, "at least one"),
        ({"target_layers": (3, 3)}, "different"),
        ({"approach": "valence-single-layer"}, "needs one layer"),
        ({"min_samples": 0}, "min_samples"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SteeringError, match=message):
        SteeringConfig(**changes)


def test_unknown_presets_and_fields_are_errors() -> None:
    with pytest.raises(SteeringError, match="conservative, balanced, peak"):
        SteeringConfig.preset("strong")
    with pytest.raises(SteeringError, match="unknown field 'layers'"):
        SteeringConfig.preset("peak", layers=(1,))


def test_strengths_above_five_warn() -> None:
    with pytest.warns(UserWarning, match=r"5\.1 is above 5\.0"):
        SteeringConfig(strength=5.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SteeringConfig(strength=5.0)


@pytest.mark.parametrize(
    ("approach", "expected"),
    [
        ("dual", [1.0, 1.0]),
        ("valence-only", [1.0, 0.0]),
        ("valence-single-layer", [1.0, 0.0]),
        ("arousal-only", [0.0, 1.0]),
    ],
)
def test_approaches_leave_pathways_out(approach: Approach, expected: list[float]) -> None:
    counts = torch.full((9,), 20)
    counts[1] = 15
    signals = SteeringSignals(
        grid=BINNINGS["9-bin"], means=torch.ones(9, 2, 4), counts=counts, min_samples=1
    )
    config = SteeringConfig(approach=approach, target_layers=(2,), min_samples=16)
    found = choose_signals(config, signals, torch.tensor([0, 1]))
    assert found[:, :, 0].tolist() == [expected, [0.0, 0.0]]  # the second bin has too few texts
