"""Published experiments run, with few seeds and episodes."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.evaluation.emotional_ed import (
    battery_run,
    conflict,
    cvar_fear,
    pitch_black,
    predator_prey,
    temporal,
)

RUNS = {
    "temporal phasic": lambda seeds: temporal.run(seeds, list, episodes=2),
    "temporal tonic": lambda seeds: temporal.run(seeds, temporal.tonic, episodes=3),
    "conflict fear": lambda seeds: conflict.run(seeds, conflict.fear_dominant, train=2, evaluate=2),
    "conflict approach": lambda seeds: conflict.run(
        seeds, conflict.approach_dominant, train=2, evaluate=2
    ),
    "conflict balanced": lambda seeds: conflict.run(seeds, conflict.balanced, train=2, evaluate=2),
    "cvar-fear half": lambda seeds: cvar_fear.run(seeds, cvar_fear.cvar_half, episodes=2),
    "battery-run standard": lambda seeds: battery_run.run(seeds, list, episodes=2),
    "battery-run patience": lambda seeds: battery_run.run(seeds, battery_run.patient, episodes=2),
    "pitch-black standard": lambda seeds: pitch_black.run(seeds, list, episodes=2),
    "pitch-black curiosity": lambda seeds: pitch_black.run(seeds, pitch_black.curious, episodes=2),
    "predator-prey standard": lambda seeds: predator_prey.run(seeds, list, episodes=2),
    "predator-prey anxiety": lambda seeds: predator_prey.run(
        seeds, predator_prey.anxious, episodes=2
    ),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_scores_are_finite_and_repeat(name: str) -> None:
    scores, again = RUNS[name](range(3)), RUNS[name](range(3))
    for metric, values in scores.items():
        assert values.shape == (3,)
        assert np.isfinite(values).all(), metric
        np.testing.assert_array_equal(values, again[metric])
