"""Experiment 20, short."""

from __future__ import annotations

import numpy as np

from erm_gym.evaluation.emotional_ed.bottleneck import persistent, run


def test_anger_opens_the_door_sooner() -> None:
    standard, angry = run(range(6), list, episodes=60), run(range(6), persistent, episodes=60)
    assert all(np.isfinite(values).all() for values in angry.values())
    assert angry["opened"].mean() > standard["opened"].mean() + 0.2
    assert angry["first_success"].mean() < standard["first_success"].mean()
