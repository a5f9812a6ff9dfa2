"""Bins by hand."""

from __future__ import annotations

import pytest
import torch

from erm_gym.steering import BINNINGS, Binning, grids


@pytest.mark.parametrize(
    ("valence", "arousal", "label"),
    [
        (-0.31, -5.0, "negative, weak"),
        (-0.3, -0.3, "negative, weak"),  # a border belongs to the part below it
        (-0.29, 0.3, "neutral, moderate"),
        (0.3, 0.31, "neutral, strong"),
        (9.0, 0.0, "positive, moderate"),
    ],
)
def test_nine_bins(valence: float, arousal: float, label: str) -> None:
    grid = BINNINGS["9-bin"]
    [number] = grid.of(torch.tensor([[valence, arousal]])).tolist()
    assert grid.labels[number] == label


def test_twenty_five_bins_refine_the_nine() -> None:
    coarse, fine = BINNINGS["9-bin"], BINNINGS["25-bin"]
    assert (coarse.bins, fine.bins) == (9, 25)
    ratings = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    parts: dict[int, set[int]] = {}
    for own, other in zip(fine.of(ratings).tolist(), coarse.of(ratings).tolist(), strict=True):
        parts.setdefault(own, set()).add(other)
    assert len(parts) == 25
    assert all(len(inside) == 1 for inside in parts.values())


def test_float32_and_float64_agree_on_borders() -> None:
    """0.3 in float32 is above 0.3 in float64."""
    grid = BINNINGS["9-bin"]
    assert grid.of(torch.tensor([[0.3, 0.3]])).tolist() == [4]
    assert grid.of(torch.tensor([[0.3, 0.3]], dtype=torch.float64)).tolist() == [4]


def test_errors() -> None:
    with pytest.raises(ValueError, match="not finite"):
        BINNINGS["9-bin"].of(torch.tensor([[0.0, float("nan")]]))
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold must be above 0 and below 1"):
            grids(threshold)
    with pytest.raises(ValueError, match="rise"):
        Binning(name="x", thresholds=(1.0, 0.0), valences=("a", "b", "c"), arousals=("a", "b", "c"))
    with pytest.raises(ValueError, match="2 thresholds need 3 names"):
        Binning(name="x", thresholds=(0.0, 1.0), valences=("a", "b"), arousals=("a", "b", "c"))
