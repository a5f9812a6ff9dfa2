"""The two tables of a sweep and its verdicts, from the predictions that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym.evaluation.statistics import Interval
from erm_gym.evaluation.steering.conditions import (
    BROKEN_PERPLEXITY,
    CONTROLS,
    SOURCES,
    Condition,
    Source,
    single,
)
from erm_gym.evaluation.steering.predictions import PLAIN, Predictions
from erm_gym.evaluation.steering.sweep import SweepConfig
from erm_gym.steering import BINNINGS
from erm_gym.steering.config import PRESETS
from erm_gym.steering.feedback import PATHWAYS

REPETITIONS = 2000
REPORTED_APPROACHES: dict[str, tuple[float, float]] = {
    "25-bin dual": (-0.060, 0.009),
    "9-bin dual": (-0.003, 0.008),
    "9-bin valence-only": (0.0004, 0.009),
    "9-bin arousal-only": (-0.002, -0.003),
}
"""Changes of r of valence and arousal in the finding."""
REPORTED_SINGLE = (0.0004, 0.014)
"""The same of a single layer, there at strength 2."""
REPORTED_STRENGTHS: dict[float, tuple[float, float]] = {
    1.0: (-0.001, 0.009),
    1.5: (-0.002, 0.012),
    2.0: (-0.004, 0.014),
}
PEAK = PRESETS["peak"]
SAME = 0.005
"""Changes of r that differ by less count as the same; about half of what the finding is about."""
HOLDS, LABELS_ONLY, FAILS = "holds", "held there only because of the true labels", "does not hold"
UNDECIDED = "undecided"
"""Verdicts of an insight. It holds if all its tests do with predicted bins, and does not if one of
them is refuted there; if it held with true bins, then because of these."""
HELD, REFUTED = "held", "refuted"
"""Outcomes of a test, beside undecided: its whole interval is where it should be, or where not."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Draws of the changes of Pearson's r under a condition, from one bootstrap for all."""

    estimate: np.ndarray
    """`[2]` of valence and arousal, the mean over seeds."""
    draws: np.ndarray
    """`[R, 2]`."""

    def __sub__(self, other: Changes) -> Changes:
        """How much more this condition changes, draw by draw."""
        return Changes(estimate=self.estimate - other.estimate, draws=self.draws - other.draws)

    def intervals(self) -> list[Interval]:
        """Of valence and arousal, 95%."""
        return [_interval(self.estimate[k], self.draws[:, k]) for k in range(2)]

    def sum(self) -> Interval:
        """Of both together."""
        return _interval(self.estimate.sum(), self.draws.sum(axis=1))


class SweepChanges:
    """Changes of r under each condition, with both texts and seeds drawn anew."""

    def __init__(
        self, folder: Path, seeds: Sequence[int], ratings: np.ndarray, *, seed: int = 0
    ) -> None:
        """Draws.

        Args:
            folder: Of the sweep.
            seeds: Its seeds.
            ratings: `[n, 2]` true ratings of the test texts.
            seed: Of the bootstrap.
        """
        rng = np.random.default_rng(seed)
        self._kept = [Predictions(folder, one) for one in seeds]
        self._ratings = ratings
        texts = rng.multinomial(len(ratings), np.full(len(ratings), 1 / len(ratings)), REPETITIONS)
        self._texts = np.concatenate((np.ones((1, len(ratings))), texts))  # the first: as they are
        drawn = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), REPETITIONS)
        self._seeds = np.concatenate((np.ones((1, len(seeds))), drawn)) / len(seeds)  # [1 + R, S]
        self._plain = self._r(PLAIN)

    def plain(self) -> list[Interval]:
        """Pearson's r of valence and arousal without steering."""
        mean = self._mean(self._plain)
        return [_interval(mean[0, k], mean[1:, k]) for k in range(2)]

    def of(self, condition: Condition) -> Changes:
        """The changes under a condition."""
        mean = self._mean(self._r(str(condition)) - self._plain)
        return Changes(estimate=mean[0], draws=mean[1:])

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Weighted means over seeds of `[1 + R, S, 2]`, `[1 + R, 2]`."""
        return np.einsum("rs,rsk->rk", self._seeds, values)

    def _r(self, condition: str) -> np.ndarray:
        """Pearson's r in every draw, `[1 + R, S, 2]`."""
        return np.stack(
            [weighted_r(kept.get(condition), self._ratings, self._texts) for kept in self._kept],
            axis=1,
        )


def weighted_r(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's r of each column under each of several weightings of the rows.

    Args:
        predicted: `[n, k]`.
        true: `[n, k]`.
        weights: `[R, n]`, not negative.

    Returns:
        `[R, k]`.
    """
    weights = weights / weights.sum(axis=1, keepdims=True)
    one, other = predicted.astype(np.float64), true.astype(np.float64)
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    mean, mean_other = weights @ one, weights @ other
    covariance = weights @ (one * other) - mean * mean_other
    variances = (weights @ one**2 - mean**2) * (weights @ other**2 - mean_other**2)
    found: np.ndarray = covariance / np.sqrt(variances)
    return found


def tables(
    results: dict[str, Any], folder: Path, config: SweepConfig, ratings: np.ndarray
) -> dict[str, Any]:
    """Both tables with intervals, and a verdict for each of the finding's insights.

    Args:
        results: What `sweep` returned.
        folder: Its folder.
        config: Its settings.
        ratings: `[n, 2]` true ratings of the test texts.

    Returns:
        `plain`, r of valence and arousal; `coverage`; `errors` on held-out training texts, at the
        first and at the second pass; `alike`, the most alike signals; `approaches` and `strengths`,
        by name, source and control the changes of r; `perplexity` and `breaks` by strength; and
        `insights`.
    """
    changes = SweepChanges(folder, config.seeds, ratings)
    approaches = {
        name: {
            source: {
                control: changes.of(replace(one, source=source, control=control)).intervals()
                for control in CONTROLS
            }
            for source in SOURCES
        }
        for name, one in config.approaches().items()
    }
    strengths = {
        f"{strength:g}": {
            source: changes.of(replace(one, source=source)).intervals() for source in SOURCES
        }
        for strength, one in config.strength_table().items()
    }
    return {
        "plain": changes.plain(),
        "coverage": _coverage(results),
        "errors": np.mean([one["errors"] for one in results["seeds"].values()], axis=0).tolist(),
        "alike": {name: _alike(results, name) for name in BINNINGS},
        "approaches": approaches,
        "strengths": strengths,
        "perplexity": results["perplexity"],
        "breaks": _breaks(strengths, results["perplexity"]),
        "insights": list(_insights(changes, config)),
    }


def _coverage(results: dict[str, Any]) -> dict[str, float]:
    """Least coverage of any seed, by binning and source."""
    seeds = list(results["seeds"].values())
    return {name: min(one["coverage"][name] for one in seeds) for name in seeds[0]["coverage"]}


def _alike(results: dict[str, Any], binning: str) -> dict[str, Any]:
    """The most alike usable signals of each seed, and how many pairs are too alike in any."""
    seeds = results["seeds"].values()
    too_alike = {
        (pair["pathway"], pair["one"], pair["other"])
        for one in seeds
        for pair in one["too_alike"][binning]
    }
    return {
        "most_alike": [one["most_alike"][binning] for one in seeds if binning in one["most_alike"]],
        "too_alike": len(too_alike),
    }


def _breaks(strengths: dict[str, Any], perplexity: dict[str, Any]) -> dict[str, float | None]:
    """Strengths from which on predictions are surely worse, and the LM's text is broken."""
    worse = {
        float(name): any(one.high < 0.0 for one in by_source["predicted"])
        for name, by_source in strengths.items()
    }
    broken = {
        strength: (ratio := perplexity[f"{strength:g}"]) is None or ratio >= BROKEN_PERPLEXITY
        for strength in worse
    }
    return {"predictions": _from_on(worse), "perplexity": _from_on(broken)}


def _from_on(found: dict[float, bool]) -> float | None:
    """The least strength from which on all have it; None if the largest has not."""
    first = None
    for strength in sorted(found, reverse=True):
        if not found[strength]:
            break
        first = strength
    return first


def _insights(changes: SweepChanges, config: SweepConfig) -> Iterator[dict[str, Any]]:
    """The four insights of the finding, each tested with bins of either source."""
    for name, claim, test in (
        (
            "one pathway",
            "valence alone beats both pathways, and arousal alone does harm",
            _one_pathway,
        ),
        ("coarse bins", "9 bins beat 25", _coarse_bins),
        ("any layer", "each steered layer alone does the same as the other", _any_layer),
        ("peak", "2.0 improves on arousal, and by more than any other strength does", _peak),
    ):
        found = {source: test(changes, config, source) for source in SOURCES}
        yield {"name": name, "claim": claim, "tests": found, "verdict": _verdict(found)}


def _verdict(tests: dict[Source, list[dict[str, Any]]]) -> str:
    outcomes = {source: {one["outcome"] for one in own} for source, own in tests.items()}
    if outcomes["predicted"] == {HELD}:
        return HOLDS
    if REFUTED not in outcomes["predicted"]:
        return UNDECIDED
    return LABELS_ONLY if outcomes["true"] == {HELD} else FAILS


def _one_pathway(
    changes: SweepChanges, config: SweepConfig, source: Source
) -> list[dict[str, Any]]:
    table = config.approaches()
    valence, dual, arousal = (
        changes.of(replace(table[f"9-bin {name}"], source=source))
        for name in ("valence-only", "dual", "arousal-only")
    )
    return [
        _above("valence-only less dual, both r together", (valence - dual).sum()),
        _below("arousal-only, both r together", arousal.sum()),
    ]


def _coarse_bins(
    changes: SweepChanges, config: SweepConfig, source: Source
) -> list[dict[str, Any]]:
    table = config.approaches()
    coarse, fine = (
        changes.of(replace(table[f"{name} dual"], source=source)) for name in ("9-bin", "25-bin")
    )
    return [_above("9 bins less 25, dual, both r together", (coarse - fine).sum())]


def _any_layer(changes: SweepChanges, config: SweepConfig, source: Source) -> list[dict[str, Any]]:
    table = config.approaches()
    one, *others = (
        changes.of(replace(table[single(layer)], source=source)) for layer in config.target_layers
    )
    return [
        _same(f"{affect}, difference of layers", apart)
        for other in others
        for affect, apart in zip(PATHWAYS, (one - other).intervals(), strict=True)
    ]


def _peak(changes: SweepChanges, config: SweepConfig, source: Source) -> list[dict[str, Any]]:
    table = {
        strength: changes.of(replace(one, source=source))
        for strength, one in config.strength_table().items()
    }
    return [
        _above(f"arousal at {PEAK:g}", table[PEAK].intervals()[1]),
        *(
            _below(f"arousal at {strength:g} less at {PEAK:g}", (own - table[PEAK]).intervals()[1])
            for strength, own in table.items()
            if strength != PEAK
        ),
    ]


def _above(what: str, found: Interval) -> dict[str, Any]:
    """A test that something is above 0."""
    return _test(what, found, held=found.low > 0.0, refuted=found.high < 0.0)


def _below(what: str, found: Interval) -> dict[str, Any]:
    """A test that something is below 0."""
    return _test(what, found, held=found.high < 0.0, refuted=found.low > 0.0)


def _same(what: str, apart: Interval) -> dict[str, Any]:
    """A test that a difference is within `SAME`."""
    within = apart.low > -SAME and apart.high < SAME
    return _test(what, apart, held=within, refuted=apart.low > SAME or apart.high < -SAME)


def _test(what: str, found: Interval, *, held: bool, refuted: bool) -> dict[str, Any]:
    outcome = HELD if held else REFUTED if refuted else UNDECIDED
    return {"what": what, "interval": found, "outcome": outcome}


def _interval(estimate: float, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))
