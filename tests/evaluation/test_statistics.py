from __future__ import annotations

import numpy as np
import pytest

from erm_gym.evaluation import cvar, iqm, probability_of_improvement, stratified_bootstrap
from erm_gym.evaluation.statistics import mean as mean_of_existing


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_iqm_drops_a_quarter_at_either_end() -> None:
    assert iqm(np.array([[8.0, 1.0, 3.0, 900.0], [4.0, 5.0, -70.0, 6.0]])) == 4.5  # 3 4 5 6


def test_iqm_of_three_scores_drops_none() -> None:
    assert iqm(np.array([1.0, 2.0, 6.0])) == 3.0


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [
        (20, 0.1, 0.5),  # 0 and 1
        (30, 0.1, 1.0),  # 0 1 2: a tenth of 30 is 3, not 4
        (21, 0.1, 1.0),  # 0 1 2: rounded up
        (4, 0.1, 0.0),  # one at least
        (5, 1.0, 2.0),
    ],
)
def test_cvar_is_the_mean_of_the_worst(count: int, fraction: float, expected: float) -> None:
    scores = rng().permutation(np.arange(float(count)))
    assert cvar(scores, fraction) == expected


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_cvar_refuses_an_impossible_share(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must be in"):
        cvar(np.ones(3), fraction)


def test_bootstrap_of_a_mean_is_as_wide_as_the_normal_theory_says() -> None:
    scores = rng().normal(size=(1, 400))
    interval = stratified_bootstrap(scores, mean, rng())
    half = 1.96 * scores.std() / 20.0
    assert interval.mean == scores.mean()
    assert interval.low == pytest.approx(interval.mean - half, abs=0.15 * half)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.15 * half)


def test_bootstrap_draws_runs_too() -> None:
    scores = np.array([[0.0] * 50, [1.0] * 50])  # tasks do not differ, runs do
    interval = stratified_bootstrap(scores, mean, rng())
    assert (interval.low, interval.mean, interval.high) == (0.0, 0.5, 1.0)


def test_bootstrap_keeps_the_shares_of_the_strata() -> None:
    strata = np.array([True] * 10 + [False] * 30)
    scores = strata[None, :].astype(float)
    within = stratified_bootstrap(scores, mean, rng(), strata=strata)
    assert (within.low, within.high) == (0.25, 0.25)
    without = stratified_bootstrap(scores, mean, rng())
    assert without.low < 0.2
    assert without.high > 0.3


def test_bootstrap_draws_a_task_for_all_runs_together() -> None:
    scores = np.array([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])
    seen: list[np.ndarray] = []

    def note(values: np.ndarray) -> float:
        seen.append(values)
        return 0.0

    stratified_bootstrap(scores, note, rng(), repetitions=50)
    for values in seen:
        assert values.shape == scores.shape
        tasks = values % 10
        assert (tasks == tasks[0]).all()
        assert (values - tasks == (values - tasks)[:, :1]).all()
    assert len({values.tobytes() for values in seen}) > 20


def test_bootstrap_gives_the_same_interval_for_the_same_seed() -> None:
    scores = rng().normal(size=(3, 20))
    one = stratified_bootstrap(scores, iqm, np.random.default_rng(5))
    assert one == stratified_bootstrap(scores, iqm, np.random.default_rng(5))
    assert one != stratified_bootstrap(scores, iqm, np.random.default_rng(6))


def test_bootstrap_refuses_strata_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        stratified_bootstrap(np.ones((2, 4)), mean, rng(), strata=np.ones(3))


def test_probability_of_improvement_counts_pairs_and_half_of_the_ties() -> None:
    # On one task: 1 > 0, 1 < 2, 2 > 0, 2 = 2.
    result = probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[0.0], [2.0]]), rng())
    assert result.mean == 2.5 / 4.0
    assert result.low < result.mean < result.high


def test_probability_of_improvement_is_a_mean_over_tasks() -> None:
    one, other = np.array([[1.0, 1.0, 1.0, 5.0]]), np.array([[0.0, 2.0, 3.0, 5.0]])
    assert probability_of_improvement(one, other, rng()).mean == (1.0 + 0.0 + 0.0 + 0.5) / 4.0
    assert probability_of_improvement(other, one, rng()).mean == 2.5 / 4.0


def test_probability_of_improvement_is_certain_of_a_sure_winner() -> None:
    result = probability_of_improvement(np.ones((3, 8)), np.zeros((2, 8)), rng())
    assert result == (1.0, 1.0, 1.0)


def test_probability_of_improvement_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="same tasks, got 2 and 3"):
        probability_of_improvement(np.ones((1, 2)), np.ones((1, 3)), rng())


def test_scores_that_do_not_exist_are_left_out() -> None:
    scores = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan, np.nan, 5.0, 4.0]])
    assert mean_of_existing(scores) == 3.0
    assert iqm(scores) == 3.0  # of 1, 2, 3, 4, 5 the lowest and the highest go
    assert cvar(scores, 0.4) == 1.5
    interval = stratified_bootstrap(
        scores, mean_of_existing, np.random.default_rng(0), repetitions=200
    )
    assert interval.mean == 3.0 and 1.0 <= interval.low <= interval.high <= 5.0
    others = np.array([[0.0, 9.0, 9.0, np.nan]])
    # Task 0: 1 > 0. Task 2: 3 < 9 and 5 < 9. The others cannot be compared.
    result = probability_of_improvement(scores, others, np.random.default_rng(0), repetitions=200)
    assert result.mean == pytest.approx(1 / 3)
    assert 0.0 <= result.low <= result.high <= 1.0
