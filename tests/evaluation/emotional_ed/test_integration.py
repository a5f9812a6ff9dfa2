"""Experiment 7, short."""

from __future__ import annotations

import numpy as np

from erm_gym.evaluation.emotional_ed.integration import integrated, run


def test_every_episode_ends_somewhere() -> None:
    scores = run(range(4), channels=lambda: integrated(1.0, 0.2, 0.2), train=30, evaluate=10)
    ends = scores["risky"] + scores["safe"] + scores["walled"] + scores["truncated"]
    np.testing.assert_allclose(ends, 1.0)
    assert np.isfinite(scores["return"]).all()
