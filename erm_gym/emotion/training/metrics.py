"""How well probabilities of emotions fit what people said: ranking, decisions, calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

BINS = 15
"""Bins of equal width in which calibration is measured."""


@dataclass(frozen=True, kw_only=True)
class EmotionMetrics:
    """How well one emotion or label is told from text."""

    auc: float
    """Probability that a text with it ranks above one without, in [0, 1]."""
    f1: float
    """F1 of deciding by the threshold, in [0, 1]."""
    ap: float
    """Average precision, in [0, 1]."""
    ece: float
    """Expected calibration error, in [0, 1]."""
    threshold: float
    """Probability above which the emotion is said to be there; chosen on other data."""
    positives: int
    """Texts with it."""
    texts: int
    """All texts that say something about it."""


def measure(probability: np.ndarray, truth: np.ndarray, threshold: float) -> EmotionMetrics:
    """All numbers of one emotion.

    Args:
        probability: `[N]` predicted, in [0, 1].
        truth: `[N]` 0 or 1.
        threshold: From `best_threshold`, on other data.

    Returns:
        The numbers; `auc` and `ap` are nan if all texts are of one kind, and all are if there are
        none.
    """
    if not len(truth):
        nothing = math.nan
        return EmotionMetrics(
            auc=nothing,
            f1=nothing,
            ap=nothing,
            ece=nothing,
            threshold=threshold,
            positives=0,
            texts=0,
        )
    mixed = 0 < truth.sum() < len(truth)
    decided = probability > threshold
    return EmotionMetrics(
        auc=float(roc_auc_score(truth, probability)) if mixed else float("nan"),
        f1=float(f1_score(truth, decided, zero_division=0.0)),
        ap=float(average_precision_score(truth, probability)) if mixed else float("nan"),
        ece=calibration_error(probability, truth),
        threshold=threshold,
        positives=int(truth.sum()),
        texts=len(truth),
    )


def best_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """The threshold above which a text is said to have an emotion, for the largest F1.

    Args:
        probability: `[N]` predicted, in [0, 1].
        truth: `[N]` 0 or 1; 0.5 is returned if all are 0.
    """
    if not truth.any():
        return 0.5
    precision, recall, thresholds = precision_recall_curve(truth, probability)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1[:-1].argmax())
    below = thresholds[best - 1] if best else 0.0
    return float((below + thresholds[best]) / 2)  # between the texts it separates


def reliability(
    probability: np.ndarray, truth: np.ndarray, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and observed shares in bins of equal width.

    Args:
        probability: `[N]` predicted, in [0, 1].
        truth: `[N]` 0 or 1.
        bins: How many.

    Returns:
        Mean prediction, share of texts with the emotion, and number of texts, `[bins]` each; nan
        and 0 where a bin is empty.
    """
    which = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(which, probability, bins) / count
        observed = np.bincount(which, truth, bins) / count
    return predicted, observed, count


def calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: |observed - predicted| per bin, weighted by its texts.

    Args:
        probability: `[N]` predicted, in [0, 1].
        truth: `[N]` 0 or 1.
        bins: How many bins of equal width.

    Returns:
        In [0, 1]. Source: Guo et al. (2017), eq. 3, on the probability of the emotion.
    """
    predicted, observed, count = reliability(probability, truth, bins)
    return float(np.nansum(np.abs(observed - predicted) * count) / len(probability))
