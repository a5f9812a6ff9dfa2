"""Experiment 2, with few seeds."""

from __future__ import annotations

import numpy as np

from erm_gym.evaluation.emotional_ed.anger import EXPERIMENT


def test_anger_bumps_more_and_earns_less() -> None:
    standard, angry = (arm(range(10)) for arm in list(EXPERIMENT.arms.values())[:2])
    assert all(np.isfinite(values).all() for values in angry.values())
    assert angry["blocked"].mean() > standard["blocked"].mean() + 50
    assert angry["return"].mean() < standard["return"].mean()
