"""Platt scaling, and that it is folded into the heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalRewardModel, ERMConfig
from erm_gym.emotion.training.calibration import calibrate, platt_scale
from erm_gym.emotion.training.metrics import calibration_error


def test_it_finds_the_slope_and_the_offset() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=50_000)
    truth = (rng.random(50_000) < 1 / (1 + np.exp(-honest))).astype(float)
    slope, offset = platt_scale(3 * honest + 2, truth)
    assert slope == pytest.approx(1 / 3, abs=0.02)
    assert offset == pytest.approx(-2 / 3, abs=0.04)


@pytest.mark.parametrize("truth", [np.zeros(4), np.ones(4), np.array([1.0, 1.0, 0.0, 0.0])])
def test_what_cannot_be_scaled_stays(truth: np.ndarray) -> None:
    """Texts of one kind, and logits that order them the wrong way."""
    assert platt_scale(np.array([-2.0, -1.0, 1.0, 2.0]), truth) == (1.0, 0.0)


def test_the_heads_give_calibrated_probabilities() -> None:
    form = ERMConfig(layers=(1,), members=2, width=8, encoded_size=4, labels=("odd",), affect=True)
    erm = EmotionalRewardModel(6, form).eval()
    torch.nn.init.normal_(erm.heads.weight, std=20.0)
    hidden, mask = torch.randn(4000, 3, 1, 6), torch.ones(4000, 3, dtype=torch.bool)
    with torch.no_grad():
        before = erm.outputs_of_members(hidden, mask).mean(0)
        probability = torch.sigmoid(0.2 * before[:, :7] - 1.0)
        targets = torch.bernoulli(probability)
        known = torch.ones_like(targets, dtype=torch.bool)
        known[:, 5] = torch.rand(4000) < 0.5
        targets[~known[:, 5], 5] = 1.0  # must not be looked at
        calibrate(erm, before, targets, known)
        after = erm.outputs_of_members(hidden, mask).mean(0)
    torch.testing.assert_close(after[:, 7:], before[:, 7:])  # ratings are no probabilities
    for column in range(7):
        there = known[:, column]
        read = torch.sigmoid(after[there, column]).numpy()
        assert calibration_error(read, targets[there, column].numpy()) < 0.05
        torch.testing.assert_close(
            torch.sigmoid(after[:, column]), probability[:, column], atol=0.15, rtol=0
        )
