"""Experiment 13, short."""

from __future__ import annotations

import numpy as np

from erm_gym.evaluation.emotional_ed.shaping import (
    EXPERIMENT,
    FURTHER,
    MAKES,
    episodes_to_distance,
    run,
    shaped,
    transfer,
)


def test_shaping_keeps_away_and_loses_no_return() -> None:
    seeds = range(10)
    plain, other = run(seeds, list, episodes=100), run(seeds, shaped, episodes=100)
    distance = other["min_threat_distance"] - plain["min_threat_distance"]
    assert distance.mean() > 0.5
    assert other["return"].mean() > plain["return"].mean() - 0.05


def test_every_agent_runs_and_has_figures() -> None:
    for channels in MAKES.values():
        assert all(
            np.isfinite(values).all() for values in run([0, 1], channels, episodes=20).values()
        )
    for experiment in (EXPERIMENT, FURTHER):
        assert list(experiment.arms)[:2] == ["standard", "ed"]
        assert {arm for arm, _ in experiment.figures} <= set(experiment.arms)


def test_transfer_and_speed() -> None:
    assert (transfer([0, 1], list) >= 0.0).all()
    np.testing.assert_array_equal(episodes_to_distance([0, 1], shaped), [10.0, 10.0])
    np.testing.assert_array_equal(episodes_to_distance([0], list, least=3.0), [500.0])
