"""Published experiments run, with few seeds and episodes."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.evaluation.emotional_ed.catalogue import EXPERIMENTS
from erm_gym.evaluation.emotional_ed.experiment import Experiment


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_scores_are_finite_and_repeat(experiment: Experiment) -> None:
    assert {arm for arm, _ in experiment.figures} <= set(experiment.arms)
    for arm in experiment.arms.values():
        scores, again = (arm(range(3), **experiment.short) for _ in range(2))
        for metric, values in scores.items():
            assert values.shape == (3,)
            assert np.isfinite(values).all(), metric
            np.testing.assert_array_equal(values, again[metric])
