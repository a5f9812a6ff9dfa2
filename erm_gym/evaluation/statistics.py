"""Statistics over few runs, as pure functions of arrays `[runs, tasks]`.

A task is what every run was measured on: here a prompt. nan stands for a score that does not exist,
as where a user said nothing: it is left out. Source: Agarwal et al. 2021, "Deep
reinforcement learning at the edge of the statistical precipice", unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], float]
"""One number of an array `[runs, tasks]` or `[runs, tasks, values]`."""


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval."""

    mean: float
    """The estimate itself."""
    low: float
    """Lower bound."""
    high: float
    """Upper bound."""


def iqm(scores: np.ndarray) -> float:
    """Interquartile mean: the mean of what is left without the lowest and the highest quarter.

    Args:
        scores: `[runs, tasks]` or `[runs]`, at least one. Of n scores, floor(n / 4) are dropped at
            either end.
    """
    scores = _existing(scores)
    drop = scores.size // 4
    ordered = np.partition(scores, (drop, scores.size - 1 - drop), axis=None)
    return float(ordered[drop : scores.size - drop].mean())


def cvar(scores: np.ndarray, fraction: float = 0.1) -> float:
    """Conditional value at risk: the mean of the worst scores.

    Args:
        scores: Any shape, at least one; higher is better.
        fraction: Share that counts as the worst, in (0, 1]; of n scores, ceil(fraction * n).

    Raises:
        ValueError: If the fraction is out of range.

    Source: Rockafellar & Uryasev 2000.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    scores = _existing(scores)
    # 1e-9: a tenth of 30 is 3, whatever the rounding of 0.1 * 30.
    count = max(1, int(np.ceil(fraction * scores.size - 1e-9)))
    return float(np.partition(scores, count - 1, axis=None)[:count].mean())


def mean(scores: np.ndarray) -> float:
    """Mean of scores of any shape, at least one."""
    return float(_existing(scores).mean())


def stratified_bootstrap(
    scores: np.ndarray,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    strata: np.ndarray | None = None,
    repetitions: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval over runs and tasks that both could have been others.

    Each repetition draws runs with replacement, and tasks with replacement within each stratum, so
    that the shares of the strata stay as they are. A task is drawn for all runs together, since
    its difficulty is shared by them.

    Args:
        scores: `[runs, tasks]` or `[runs, tasks, values]`, at least one of them no nan.
        statistic: What is estimated, of an array of the same shape.
        rng: Source of the draws.
        strata: `[tasks]`, the stratum of each task; by default there is one stratum.
        repetitions: Number of draws.
        confidence: Share of the draws between the bounds, in (0, 1).

    Returns:
        The statistic of `scores`, and its bounds.

    Source: Efron & Tibshirani 1993, percentile method. Agarwal et al. 2021 draw runs only, for
    each task by itself, since their tasks are fixed games; ours are a sample of prompts.
    """
    runs = _draw_runs(len(scores), repetitions, rng)
    tasks = _draw_tasks(scores.shape[1], strata, repetitions, rng)
    drawn = [scores[rows[:, None], columns] for rows, columns in zip(runs, tasks, strict=True)]
    draws = [statistic(each) for each in drawn if not np.isnan(each).all()]
    return _interval(statistic(scores), draws, confidence)


def probability_of_improvement(
    scores: np.ndarray,
    others: np.ndarray,
    rng: np.random.Generator,
    *,
    strata: np.ndarray | None = None,
    repetitions: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """How probable it is that a run of one algorithm beats a run of another on a task.

    Args:
        scores: `[runs, tasks]` of the first algorithm; higher is better.
        others: `[other runs, tasks]` of the second, on the same tasks. On one task at least, a run
            of either must have a score.
        rng: Source of the draws.
        strata: `[tasks]`, the stratum of each task; by default there is one stratum.
        repetitions: Number of draws.
        confidence: Share of the draws between the bounds, in (0, 1).

    Returns:
        The mean over tasks of P(first > second) + P(tie) / 2, in [0, 1], and its bounds. 0.5 means
        that neither is better. Each draw takes runs of either algorithm and tasks, as in
        `stratified_bootstrap`.

    Raises:
        ValueError: If the algorithms were measured on different numbers of tasks.
    """
    if scores.shape[1] != others.shape[1]:
        raise ValueError(
            f"both algorithms need the same tasks, got {scores.shape[1]} and {others.shape[1]}"
        )
    difference = scores[:, None, :] - others[None, :, :]  # [runs, other runs, tasks]
    wins = (np.sign(difference) + 1.0) / 2.0
    first = _draw_runs(len(scores), repetitions, rng)
    second = _draw_runs(len(others), repetitions, rng)
    tasks = _draw_tasks(scores.shape[1], strata, repetitions, rng)
    drawn = [
        wins[one[:, None, None], other[:, None], columns]
        for one, other, columns in zip(first, second, tasks, strict=True)
    ]
    draws = [mean(each) for each in drawn if not np.isnan(each).all()]
    return _interval(mean(wins), draws, confidence)


def _existing(scores: np.ndarray) -> np.ndarray:
    """The scores that exist, as one row if some do not."""
    missing = np.isnan(scores)
    return scores[~missing] if missing.any() else scores


def _draw_runs(runs: int, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """Indices `[repetitions, runs]`, drawn with replacement."""
    return rng.integers(runs, size=(repetitions, runs))


def _draw_tasks(
    tasks: int, strata: np.ndarray | None, repetitions: int, rng: np.random.Generator
) -> np.ndarray:
    """Indices `[repetitions, tasks]`: as many of each stratum as it has, with replacement."""
    if strata is None:
        strata = np.zeros(tasks)
    if strata.shape != (tasks,):
        raise ValueError(f"strata must have the shape ({tasks},), got {strata.shape}")
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    return np.concatenate(
        [group[rng.integers(len(group), size=(repetitions, len(group)))] for group in groups],
        axis=1,
    )


def _interval(estimate: float, draws: list[float], confidence: float) -> Interval:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(float(estimate), float(low), float(high))
