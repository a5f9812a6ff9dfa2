"""The reproduction: what is kept, what goes on, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erm_gym.evaluation import RunError
from erm_gym.evaluation.emotional_ed.catalogue import EXPERIMENTS, FAIR
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.page import page
from erm_gym.evaluation.emotional_ed.reproduction import (
    FILE,
    ReproductionConfig,
    compared,
    effect_size,
    normal_interval,
    reproduce,
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Every experiment and comparison, in the quick form."""
    out = tmp_path_factory.mktemp("results")
    return out, reproduce(ReproductionConfig(quick=True), out, jobs=1)


def test_every_experiment_and_comparison_runs(quick: tuple[Path, dict[str, Any]]) -> None:
    out, results = quick
    assert json.loads((out / FILE).read_text()) == results
    assert list(results["experiments"]) == [one.name for one in EXPERIMENTS]
    assert list(results["fair"]) == list(FAIR)
    for one in EXPERIMENTS:
        found = results["experiments"][one.name]
        assert set(found["arms"]) == set(one.arms)
        assert {arm for arm, _ in one.figures} <= set(one.arms)
        assert len(found["figures"]) == len(one.figures)
        for arm in found["arms"].values():
            for metric in arm["metrics"].values():
                assert len(metric["scores"]) == 3
                assert np.isfinite(metric["scores"]).all()


def test_a_second_call_goes_on(quick: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    kept = json.loads(json.dumps(quick[1]))
    first = EXPERIMENTS[0]
    arm = next(iter(first.arms))
    del kept["experiments"][first.name]["arms"][arm]
    (tmp_path / FILE).write_text(json.dumps(kept))
    seen: list[str] = []
    again = reproduce(
        ReproductionConfig(quick=True), tmp_path, lambda name, *_: seen.append(name), jobs=1
    )
    assert seen == [f"{first.name}: {arm}"]
    new, old = (each["experiments"][first.name]["arms"][arm] for each in (again, quick[1]))
    assert new["metrics"] == old["metrics"]


def test_the_other_form_in_the_folder_is_refused(quick: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(RunError, match="holds results of the quick form; give another folder"):
        reproduce(ReproductionConfig(), quick[0])


def test_the_page_says_everything(quick: tuple[Path, dict[str, Any]]) -> None:
    text = page(quick[1])
    assert "its figures mean nothing" in text
    for one in EXPERIMENTS:
        assert f"| {one.number} {one.name} |" in text
    for name, (agent, _) in FAIR.items():
        assert f"| {agent} | {quick[1]['fair'][name]['env']} |" in text


def test_an_unknown_experiment_is_named() -> None:
    with pytest.raises(RunError, match=r"unknown experiment 'feer'; there are .*fear"):
        ReproductionConfig(experiments=("feer",))


def _never(seeds: Sequence[int]) -> Scores:
    raise AssertionError("not run here")


@pytest.mark.parametrize(
    ("figure", "contained"),
    [
        (Figure(published=9.0, rerun=2.1), True),  # the re-run counts where there is one
        (Figure(published=2.1, rerun=9.0), False),
        (Figure(published=2.1), True),
        (Figure(), None),
    ],
)
def test_figures_are_compared_with_our_interval(figure: Figure, contained: bool | None) -> None:
    experiment = Experiment(
        number="0",
        name="none",
        env_id="",
        seeds=3,
        arms={"one": _never, "other": _never},
        figures={("one", "metric"): figure},
    )
    scores = np.array([1.0, 2.0, 3.0])
    mean, low, high = normal_interval(scores)
    values = {"mean": mean, "low": low, "high": high, "scores": scores.tolist()}
    arms = {name: {"metrics": {"metric": values}} for name in ("one", "other")}
    assert compared(experiment, arms)["figures"][0]["contained"] is contained


def test_intervals_and_effect_sizes_by_hand() -> None:
    mean, low, high = normal_interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2.0
    assert high - mean == pytest.approx(1.96 / np.sqrt(3))
    assert mean - low == pytest.approx(high - mean)
    # both variances 1: d is the difference of the means
    assert effect_size(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1.0)
    assert effect_size(np.array([2.0, 2.0]), np.array([0.0, 0.0])) is None
