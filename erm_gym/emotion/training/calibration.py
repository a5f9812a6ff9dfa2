"""Platt scaling: makes the probabilities of emotions and labels mean what they say."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.erm import EmotionalRewardModel

REGULARISATION = 1e3
"""C of the logistic regressions: weak, but a label with few examples cannot run away."""


def platt_scale(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the slope a and the offset b for which sigmoid(a * logit + b) fits best.

    Args:
        logits: `[N]`.
        truth: `[N]` 0 or 1.

    Returns:
        (1, 0) where all texts are of one kind, or where the logits order them the wrong way.

    Source: Platt (1999), without his change of the targets.
    """
    from sklearn.linear_model import LogisticRegression  # a second that only training needs

    if not 0 < truth.sum() < len(truth):
        return 1.0, 0.0
    fitted = LogisticRegression(C=REGULARISATION).fit(logits[:, None], truth)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, 0.0)


@torch.no_grad()
def calibrate(erm: EmotionalRewardModel, outputs: Tensor, targets: Tensor, known: Tensor) -> None:
    """Scale the logits of emotions and labels, by folding slopes and offsets into the heads.

    Args:
        erm: Its heads are changed in place; ratings are left alone.
        outputs: `[N, O]` outputs on texts that it did not learn from (see `predict`).
        targets: `[N, 6 + labels]` 0 or 1.
        known: Which of them are known, `[N, 6 + labels]` bool.
    """
    for column in range(targets.shape[1]):
        rows = known[:, column]
        slope, offset = platt_scale(
            outputs[rows, column].double().numpy(), targets[rows, column].numpy()
        )
        erm.heads.weight[column] *= slope
        erm.heads.bias[column] = erm.heads.bias[column] * slope + offset
