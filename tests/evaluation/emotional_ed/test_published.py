"""Published experiments run, with few seeds and episodes."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.agents.emotional_ed.surprise_agents import surprised
from erm_gym.evaluation.emotional_ed import (
    disgust,
    grief,
    pitch_black,
    predator_prey,
    regret,
    seasons,
    wanting,
)

RUNS = {
    "pitch-black standard": lambda seeds: pitch_black.run(seeds, list, episodes=2),
    "pitch-black curiosity": lambda seeds: pitch_black.run(seeds, pitch_black.curious, episodes=2),
    "predator-prey standard": lambda seeds: predator_prey.run(seeds, list, episodes=2),
    "predator-prey anxiety": lambda seeds: predator_prey.run(
        seeds, predator_prey.anxious, episodes=2
    ),
    "regret aversion": lambda seeds: regret.run(seeds, regret.averse),
    "disgust fear": lambda seeds: disgust.run(seeds, disgust.feared, episodes=2),
    "disgust": lambda seeds: disgust.run(seeds, disgust.directed, episodes=2),
    "disgust scaling": lambda seeds: disgust.run_first(seeds, disgust.scaling, train=2, evaluate=2),
    "grief": lambda seeds: grief.run(seeds, lambda: grief.grieving(0.7, 5), practice=1),
    "grief statistics": lambda seeds: grief.run_statistics(seeds, grief.learning_part),
    "addiction": lambda seeds: wanting.run(seeds, wanting.addicted, train=2, evaluate=2),
    "seasons surprise": lambda seeds: seasons.run(
        seeds, lambda: surprised(from_error=False), episodes=102
    ),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_scores_are_finite_and_repeat(name: str) -> None:
    scores, again = RUNS[name](range(3)), RUNS[name](range(3))
    for metric, values in scores.items():
        assert values.shape == (3,)
        assert np.isfinite(values).all(), metric
        np.testing.assert_array_equal(values, again[metric])


def test_recovery_counts_from_the_first_episode_after_a_swap() -> None:
    returns = np.full((2, 6), -1.0)
    returns[0, 3], returns[1, 4] = 1.0, 1.0  # of seasons of two episodes, swaps at 2 and 4
    np.testing.assert_allclose(seasons.recovery(returns, season=2), [(2 + 50) / 2, (50 + 1) / 2])
