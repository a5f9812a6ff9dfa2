"""Metrics of emotions, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.emotion.training.metrics import (
    best_threshold,
    calibration_error,
    measure,
    reliability,
)

PROBABILITY = np.array([0.1, 0.2, 0.6, 0.7, 0.9])
TRUTH = np.array([0, 1, 0, 1, 1])


def test_the_numbers_of_five_texts() -> None:
    metrics = measure(PROBABILITY, TRUTH, 0.65)
    assert metrics.auc == pytest.approx(5 / 6)  # only .2 against .6 is the wrong way round
    assert metrics.f1 == pytest.approx(2 * 1.0 * (2 / 3) / (1 + 2 / 3))
    assert metrics.ap == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert (metrics.positives, metrics.texts) == (3, 5)


def test_the_best_threshold_lies_between_texts() -> None:
    """.15 finds all three and one more, F1 6/7; .65 finds two of three, F1 .8."""
    assert best_threshold(PROBABILITY, TRUTH) == pytest.approx(0.15)
    assert measure(PROBABILITY, TRUTH, 0.15).f1 == pytest.approx(6 / 7)


def test_calibration_by_hand() -> None:
    """Two bins: .15 predicted and .5 seen by two texts, .7333 and 2/3 by three."""
    predicted, observed, count = reliability(PROBABILITY, TRUTH, bins=2)
    np.testing.assert_allclose(predicted, [0.15, 2.2 / 3])
    np.testing.assert_allclose(observed, [0.5, 2 / 3])
    assert count.tolist() == [2, 3]
    expected = (2 * 0.35 + 3 * (2.2 / 3 - 2 / 3)) / 5
    assert calibration_error(PROBABILITY, TRUTH, bins=2) == pytest.approx(expected)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0])) == 0.0


def test_texts_of_one_kind_have_no_ranking() -> None:
    metrics = measure(np.array([0.2, 0.9]), np.array([0, 0]), best_threshold(PROBABILITY, TRUTH))
    assert np.isnan(metrics.auc)
    assert np.isnan(metrics.ap)
    assert metrics.f1 == 0.0
    assert best_threshold(np.array([0.2, 0.9]), np.array([0, 0])) == 0.5
    nothing = measure(np.array([]), np.array([]), 0.5)
    assert nothing.texts == 0 and np.isnan([nothing.auc, nothing.f1, nothing.ap, nothing.ece]).all()
