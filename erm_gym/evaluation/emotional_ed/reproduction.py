"""Runs the published experiments as they were, and the fair comparisons, into one file.

The file keeps what is finished, so that a second call goes on.
"""

from __future__ import annotations

import importlib.metadata
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym.evaluation.config import RunError, RunInterrupted
from erm_gym.evaluation.emotional_ed.ablation import AblationConfig, ablate, usual_config
from erm_gym.evaluation.emotional_ed.catalogue import EXPERIMENTS, FAIR
from erm_gym.evaluation.emotional_ed.experiment import Experiment
from erm_gym.evaluation.processes import each_result
from erm_gym.evaluation.storage import read_json, write_json

FILE = "emotional_ed.json"
FAIR_FOLDER = "fair"
QUICK_SEEDS = 3
QUICK: Mapping[str, Any] = {
    "seeds": 3,
    "episodes": 2,
    "evaluation_episodes": 1,
    "trials": 1,
    "search_seeds": 2,
}
"""A fair comparison that only shows that it runs."""
LEAST_DEVIATION = 1e-3
"""Standard deviation, relative to the mean, below which no effect size is reported."""
DISTRIBUTIONS = ("erm-gym", "gymnasium", "numpy", "torch")

Progress = Callable[[str, int, int], None]
"""Called with what was finished, how much of it there is, and of how much."""


@dataclass(frozen=True, kw_only=True)
class ReproductionConfig:
    """What is run."""

    experiments: tuple[str, ...] = ()
    """Names of experiments; none for all of them."""
    fair: bool = True
    """Whether the fair comparisons are run, too."""
    quick: bool = False
    """A few seeds only, to see that everything runs; figures mean nothing then."""

    def __post_init__(self) -> None:
        """Checks the names.

        Raises:
            RunError: If there is no experiment of that name.
        """
        known = [one.name for one in EXPERIMENTS]
        for name in self.experiments:
            if name not in known:
                raise RunError(f"unknown experiment {name!r}; there are {', '.join(known)}")

    @property
    def chosen(self) -> list[Experiment]:
        """The experiments that are run."""
        return [one for one in EXPERIMENTS if not self.experiments or one.name in self.experiments]

    @property
    def comparisons(self) -> dict[str, AblationConfig]:
        """The fair comparisons that are run, by name: all, or none if experiments were named."""
        if not self.fair or self.experiments:
            return {}
        sizes = QUICK if self.quick else {}
        return {name: usual_config(*agent, **sizes) for name, agent in FAIR.items()}


def reproduce(
    config: ReproductionConfig,
    out: Path,
    progress: Progress = lambda name, done, total: None,
    *,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Runs experiments and comparisons.

    Args:
        config: What is run.
        out: Folder of the results.
        progress: Called as parts are done.
        jobs: Processes; by default as many as there are CPU cores.

    Returns:
        `experiments` (by name: every arm with its metrics), `fair` (by name: verdict and scores),
        `quick`, and `versions`.

    Raises:
        RunError: If the folder holds results of the other form, quick or full.
        RunInterrupted: If it was stopped; what was finished is kept.
    """
    path = out / FILE
    results = _stored(path, config.quick)
    parts: list[Part] = [
        _Arm(one.name, arm, config.quick) for one in config.chosen for arm in one.arms
    ]
    parts += [
        _Comparison(name, one, out / FAIR_FOLDER / name) for name, one in config.comparisons.items()
    ]
    missing = [part for part in parts if not part.is_in(results)]
    done = len(parts) - len(missing)
    try:
        for number, found in each_result(_run, missing, jobs):
            missing[number].put_into(results, found)
            write_json(path, results)
            done += 1
            progress(str(missing[number]), done, len(parts))
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            f"stopped with {done} of {len(parts)} parts finished, which are kept in {path}; give "
            "the same command to go on"
        ) from error
    for one in config.chosen:
        results["experiments"][one.name] |= compared(one, results["experiments"][one.name]["arms"])
    write_json(path, results)
    return results


def compared(experiment: Experiment, arms: Mapping[str, Any]) -> dict[str, Any]:
    """What the arms of an experiment say beside the reported figures.

    Args:
        experiment: The experiment.
        arms: Metrics by arm, as `reproduce` keeps them.

    Returns:
        `number`, `metric`, `figures` (one for each reported figure: published, rerun, ours, and
        whether our interval contains it), `d` (ours, None where a variance is nearly zero).
    """
    figures = []
    for (arm, metric), figure in experiment.figures.items():
        ours = arms[arm]["metrics"][metric]
        reference = figure.reference
        contained = None if reference is None else ours["low"] <= reference <= ours["high"]
        figures.append(
            {
                "arm": arm,
                "metric": metric,
                "published": figure.published,
                "rerun": figure.rerun,
                "ours": [ours["mean"], ours["low"], ours["high"]],
                "contained": contained,
            }
        )
    baseline, emotional = list(experiment.arms)[:2]
    metric = next(iter(experiment.figures))[1]
    scores = [np.array(arms[arm]["metrics"][metric]["scores"]) for arm in (emotional, baseline)]
    return {
        "number": experiment.number,
        "metric": metric,
        "note": experiment.note,
        "figures": figures,
        "d": effect_size(*scores),
    }


def effect_size(scores: np.ndarray, others: np.ndarray) -> float | None:
    """Cohen's d with the pooled standard deviation, ddof 1.

    Args:
        scores: `[seeds]` of one agent, at least two.
        others: `[seeds]` of the other.

    Returns:
        (mean - other mean) / s; None where s is nearly zero beside the means and d says nothing.
    """
    pooled = math.sqrt((scores.var(ddof=1) + others.var(ddof=1)) / 2.0)
    size = max(abs(scores.mean()), abs(others.mean()), 1e-12)
    if pooled < LEAST_DEVIATION * size:
        return None
    return float((scores.mean() - others.mean()) / pooled)


def normal_interval(scores: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95% interval, `mean ± 1.96 sd / sqrt(n)`.

    Args:
        scores: `[seeds]`, at least two.
    """
    mean = float(scores.mean())
    half = float(1.96 * scores.std(ddof=1) / math.sqrt(len(scores)))
    return mean, mean - half, mean + half


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page and the file keep of a fair comparison; its folder has all of it."""
    variants = found["variants"]
    return {
        "env": found["config"]["env"],
        "config": found["config"],
        "verdict": found.get("verdict"),
        "range": found["range"],
        "optimum": found["optimum"],
        "seconds": sum(one["seconds"] for one in variants.values()),
        "variants": {
            name: {key: one[key] for key in ("iqm", "cvar", "training_return", "improvement")}
            for name, one in variants.items()
        },
    }


@dataclass(frozen=True)
class _Arm:
    """One agent of a published experiment."""

    experiment: str
    arm: str
    quick: bool

    def __str__(self) -> str:
        return f"{self.experiment}: {self.arm}"

    def is_in(self, results: Mapping[str, Any]) -> bool:
        return self.arm in results["experiments"].get(self.experiment, {}).get("arms", {})

    def put_into(self, results: dict[str, Any], found: dict[str, Any]) -> None:
        experiment = results["experiments"].setdefault(self.experiment, {"arms": {}})
        experiment["arms"][self.arm] = found

    def run(self) -> dict[str, Any]:
        experiment = next(one for one in EXPERIMENTS if one.name == self.experiment)
        seeds = range(min(QUICK_SEEDS, experiment.seeds) if self.quick else experiment.seeds)
        began = time.perf_counter()
        scores = experiment.arms[self.arm](seeds, **(experiment.short if self.quick else {}))
        metrics = {}
        for metric, values in scores.items():
            mean, low, high = normal_interval(values)
            metrics[metric] = {"mean": mean, "low": low, "high": high, "scores": values.tolist()}
        return {"seeds": len(seeds), "metrics": metrics, "seconds": time.perf_counter() - began}


@dataclass(frozen=True)
class _Comparison:
    """One agent compared fairly."""

    name: str
    config: AblationConfig
    folder: Path

    def __str__(self) -> str:
        return f"fair: {self.name}"

    def is_in(self, results: Mapping[str, Any]) -> bool:
        return self.name in results["fair"]

    def put_into(self, results: dict[str, Any], found: dict[str, Any]) -> None:
        results["fair"][self.name] = found

    def run(self) -> dict[str, Any]:
        return summary(ablate(self.config, self.folder, jobs=1))


Part = _Arm | _Comparison


def _run(part: Part) -> dict[str, Any]:
    return part.run()


def _stored(path: Path, quick: bool) -> dict[str, Any]:
    if not path.exists():
        versions = {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
        return {"quick": quick, "versions": versions, "experiments": {}, "fair": {}}
    results = read_json(path)
    if not isinstance(results, dict) or results.get("quick") != quick:
        form = "full" if quick else "quick"
        raise RunError(f"{path} holds results of the {form} form; give another folder")
    return results
