"""The rule of the fair comparison."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.evaluation.verdict import judge, paired_improvement

SEEDS = 50


def found(agent: np.ndarray, baseline: np.ndarray, placebo: np.ndarray) -> str:
    scores = {"agent": agent, "baseline": baseline, "placebo": placebo}
    return judge(
        scores, agent="agent", placebo="placebo", baseline="baseline", low=0.0, high=1.0
    ).word


def noise(seed: int, scale: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, scale, SEEDS)


@pytest.mark.parametrize(
    ("gain", "placebo_gain", "expected"),
    [
        (0.2, 0.0, "helps"),
        (0.2, 0.2, "undecided"),  # the placebo does as well
        (0.03, 0.0, "equivalent"),  # surely better, by too little to matter
        (-0.2, 0.0, "hurts"),
        (0.0, 0.0, "equivalent"),
    ],
)
def test_verdicts(gain: float, placebo_gain: float, expected: str) -> None:
    assert found(noise(1) + gain, noise(2), noise(3) + placebo_gain) == expected


def test_what_is_too_noisy_is_undecided() -> None:
    assert found(noise(1, 0.5), noise(2, 0.5), noise(3, 0.5)) == "undecided"


def test_seeds_are_paired() -> None:
    hard = np.linspace(0.0, 10.0, SEEDS)  # how hard a seed is matters more than who plays
    better = paired_improvement(hard + 0.01, hard, np.random.default_rng(0))
    assert tuple(better) == (1.0, 1.0, 1.0)
    tied = paired_improvement(hard, hard, np.random.default_rng(0))
    assert tuple(tied) == (0.5, 0.5, 0.5)


def test_an_empty_range_is_refused() -> None:
    scores = {name: np.ones(3) for name in ("agent", "placebo", "baseline")}
    with pytest.raises(ValueError, match="high must be above low"):
        judge(scores, agent="agent", placebo="placebo", baseline="baseline", low=1.0, high=1.0)
