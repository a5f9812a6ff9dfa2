"""Signals by hand: means, who is usable, how alike they are, and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from erm_gym.steering import BINNINGS, SignalError, SteeringSignals, extract_signals

GRID = BINNINGS["9-bin"]
WEAK, MODERATE, STRONG = 0, 1, 2  # bins of negative valence


def signals(rows: dict[int, list[float]], counts: dict[int, int]) -> SteeringSignals:
    """Signals with three numbers, the same for both pathways."""
    means = torch.zeros(9, 2, 3)
    own = torch.zeros(9, dtype=torch.int64)
    for number, values in rows.items():
        means[number] = torch.tensor(values)
    for number, count in counts.items():
        own[number] = count
    return SteeringSignals(grid=GRID, means=means, counts=own)


def test_a_signal_is_the_mean_of_its_bin() -> None:
    activations = torch.tensor([1.0, 3.0, 10.0])[:, None, None].expand(3, 2, 4)
    ratings = torch.tensor([[-1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]])
    found = extract_signals(activations, ratings, GRID, min_samples=2)
    assert found.counts.tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.means[0].unique().tolist() == [2.0]
    assert found.means[8].unique().tolist() == [10.0]
    assert found.usable.tolist() == [True, *[False] * 8]


def test_texts_of_bins_with_too_few_texts_are_not_steered() -> None:
    found = signals({0: [1.0, 2.0, 3.0], 1: [4.0, 5.0, 6.0]}, {0: 15, 1: 14})
    bins = torch.tensor([0, 1, 1, 0])
    assert found.of(bins)[:, 0, 0].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert found.coverage(bins) == 0.5


def test_correlations_are_pearson_s_of_usable_bins() -> None:
    found = signals(
        {WEAK: [1.0, 2.0, 3.0], MODERATE: [3.0, 2.0, 1.0], STRONG: [1.0, 2.0, 3.1]},
        {WEAK: 15, MODERATE: 15, STRONG: 3},
    )
    pairs = found.validate()
    assert [pair.pathway for pair in pairs] == ["valence", "arousal"]
    assert [pair.r for pair in pairs] == pytest.approx([-1.0, -1.0])
    assert {pairs[0].one, pairs[0].other} == {"negative, weak", "negative, moderate"}


def test_signals_that_are_alike_are_an_error_that_names_them() -> None:
    found = signals({WEAK: [1.0, 2.0, 3.0], STRONG: [1.0, 2.0, 3.1]}, {WEAK: 15, STRONG: 15})
    message = r"2 of 2 pairs.*valence: negative, strong and negative, weak \(1\.000\)"
    with pytest.raises(SignalError, match=message):
        found.validate()


def test_the_border_of_likeness_is_an_error() -> None:
    """r of (1, 0, 0) and (a, b, 0) is .9 where it is made so."""
    one = torch.tensor([1.0, -1.0, 0.0]).double()
    apart = torch.tensor([1.0, 1.0, -2.0]).double() / 3**0.5
    other = 0.9 * one + (1 - 0.81) ** 0.5 * apart
    found = signals({WEAK: one.tolist(), STRONG: other.tolist()}, {WEAK: 15, STRONG: 15})
    assert found.correlations()[0].r == pytest.approx(0.9, abs=1e-6)
    below = 0.89 * one + (1 - 0.89**2) ** 0.5 * apart
    signals({WEAK: one.tolist(), STRONG: below.tolist()}, {WEAK: 15, STRONG: 15}).validate()
    above = 0.91 * one + (1 - 0.91**2) ** 0.5 * apart
    with pytest.raises(SignalError):
        signals({WEAK: one.tolist(), STRONG: above.tolist()}, {WEAK: 15, STRONG: 15}).validate()


def test_a_constant_signal_is_an_error() -> None:
    with pytest.raises(
        SignalError, match="the valence signal of negative, weak; negative, strong is"
    ):
        signals({}, {WEAK: 15, STRONG: 15}).correlations()


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    made = signals({WEAK: [1.0, 2.0, 3.0]}, {WEAK: 20})
    made.save(tmp_path)
    loaded = SteeringSignals.load(tmp_path, "9-bin")
    assert torch.equal(loaded.means, made.means)
    assert torch.equal(loaded.counts, made.counts)
    assert loaded.min_samples == made.min_samples
    assert loaded.grid == made.grid
    assert '"negative, weak"' in (tmp_path / "signals-9-bin.json").read_text()


@pytest.mark.parametrize("name", ["signals-9-bin.safetensors", "signals-9-bin.json"])
def test_files_that_were_cut_off_are_errors(tmp_path: Path, name: str) -> None:
    signals({WEAK: [1.0, 2.0, 3.0]}, {WEAK: 20}).save(tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SignalError, match="erm-gym steer fit"):
        SteeringSignals.load(tmp_path, "9-bin")
    with pytest.raises(SignalError, match="25-bin"):
        SteeringSignals.load(tmp_path, "25-bin")


def test_wrong_numbers_are_errors() -> None:
    with pytest.raises(ValueError, match="min_samples"):
        extract_signals(torch.zeros(1, 2, 3), torch.zeros(1, 2), GRID, min_samples=0)
    with pytest.raises(ValueError, match="2 activations and 1 ratings"):
        extract_signals(torch.zeros(2, 2, 3), torch.zeros(1, 2), GRID)
