"""The tables of a sweep by hand: correlations, intervals, controls and verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.evaluation import RunError
from erm_gym.evaluation.steering.conditions import (
    CONTROLS,
    SOURCES,
    Condition,
    approach_table,
    strength_table,
)
from erm_gym.evaluation.steering.predictions import PLAIN, Predictions
from erm_gym.evaluation.steering.sweep import SweepConfig
from erm_gym.evaluation.steering.tables import (
    FAILS,
    HOLDS,
    LABELS_ONLY,
    REFUTED,
    UNDECIDED,
    tables,
    weighted_r,
)
from erm_gym.steering import BINNINGS, SteeringConfig, SteeringSignals

TEXTS = 300


def test_weighted_r_is_pearson_s_of_rows_drawn_that_often() -> None:
    rng = np.random.default_rng(0)
    predicted, true = rng.standard_normal((2, 12, 2))
    weights = rng.integers(0, 4, (3, 12)).astype(float)
    found = weighted_r(predicted, true, weights)
    for draw in range(3):
        rows = np.repeat(np.arange(12), weights[draw].astype(int))
        for column in range(2):
            expected = np.corrcoef(predicted[rows, column], true[rows, column])[0, 1]
            assert found[draw, column] == pytest.approx(expected)


def signals() -> SteeringSignals:
    generator = torch.Generator().manual_seed(0)
    counts = torch.full((9,), 20)
    counts[3] = 1
    return SteeringSignals(
        grid=BINNINGS["9-bin"], means=torch.randn(9, 2, 128, generator=generator), counts=counts
    )


def test_controls_put_in_noise_of_the_same_length_or_the_bins_of_others() -> None:
    own = signals()
    bins = torch.arange(9).repeat(4)
    config = SteeringConfig(approach="dual", target_layers=(1,))
    condition = Condition(config=config)
    plain, random, shuffled = (
        replace(condition, control=control).signals(own, bins, seed=0) for control in CONTROLS
    )
    assert torch.equal(plain, own.of(bins))
    torch.testing.assert_close(random.norm(dim=-1), plain.norm(dim=-1))
    assert not torch.allclose(random, plain)
    assert torch.equal(random[0], random[9])  # one for each bin
    assert not torch.equal(shuffled, plain)
    assert torch.equal(shuffled.sum(dim=(1, 2)).sort()[0], plain.sum(dim=(1, 2)).sort()[0])
    assert not plain[3].any()  # its bin has too few texts
    alone = Condition(config=replace(config, approach="arousal-only")).signals(own, bins, seed=0)
    assert not alone[:, 0].any()
    assert torch.equal(alone[:, 1], plain[:, 1])


def test_every_condition_is_named_once() -> None:
    names = [str(one) for one in SweepConfig(strength=2.0).conditions()]
    assert len(set(names)) == len(names)
    table = approach_table((3, 5), 1.0)
    assert [one.config.target_layers for one in table.values()][-2:] == [(3,), (5,)]
    assert strength_table(5, (1.0, 2.0))[2.0].config.target_layers == (5,)


def worse(ratings: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Predictions whose correlation with the ratings falls with the noise."""
    rng = np.random.default_rng(seed)
    return (ratings + noise * rng.standard_normal(ratings.shape)).astype(np.float32)


def kept(tmp_path: Path, noises: dict[str, float]) -> tuple[SweepConfig, np.ndarray, Path]:
    """A sweep of which 9-bin dual and other conditions have predictions this noisy."""
    config = SweepConfig(seeds=(0, 1), strengths=(1.0, 2.0, 10.0))
    ratings = np.random.default_rng(9).standard_normal((TEXTS, 2))
    for seed in config.seeds:
        own = Predictions(tmp_path, seed)
        own.put(PLAIN, worse(ratings, 1.0, seed))
        for condition in config.conditions():
            noise = next((n for name, n in noises.items() if name in str(condition)), 1.0)
            own.put(str(condition), worse(ratings, noise, seed))
    return config, ratings, tmp_path


def results(config: SweepConfig) -> dict[str, object]:
    coverage = {f"{name} {source}": 0.99 for name in ("9-bin", "25-bin") for source in SOURCES}
    pair = {"pathway": "valence", "one": "a", "other": "b", "r": 0.95}
    about = {
        "coverage": coverage,
        "errors": [0.7, 0.6],
        "most_alike": {"9-bin": {**pair, "r": 0.5}, "25-bin": pair},
        "too_alike": {"9-bin": [], "25-bin": [pair]},
    }
    perplexity = {"unsteered": 100.0, "1": 1.0, "2": 1.1, "10": 2.5}
    return {
        "seeds": {str(seed): about for seed in config.seeds},
        "perplexity": perplexity,
    }


def test_verdicts_follow_from_what_was_predicted(tmp_path: Path) -> None:
    """9 bins are better by true bins alone; single layers are the same; valence beats dual."""
    config, ratings, folder = kept(
        tmp_path,
        {
            "dual 9-bin layers 14+16 strength 1 true signal": 0.5,
            "dual 25-bin layers 14+16 strength 1 true signal": 0.9,
            "dual 9-bin layers 14+16 strength 1 predicted signal": 1.5,
            "dual 25-bin layers 14+16 strength 1 predicted signal": 1.4,
            "arousal-only 9-bin layers 14+16 strength 1 predicted signal": 2.0,
            "strength 10 predicted": 1.5,
        },
    )
    found = tables(results(config), folder, config, ratings)
    words = {one["name"]: one["verdict"] for one in found["insights"]}
    assert words["one pathway"] == HOLDS
    assert words["coarse bins"] == LABELS_ONLY
    assert words["any layer"] == HOLDS
    assert words["peak"] == UNDECIDED  # no condition but 10 differs from nothing
    change = found["approaches"]["9-bin dual"]["true"]["signal"][0]
    before = np.mean([np.corrcoef(worse(ratings, 1.0, s).T[0], ratings.T[0])[0, 1] for s in (0, 1)])
    after = np.mean([np.corrcoef(worse(ratings, 0.5, s).T[0], ratings.T[0])[0, 1] for s in (0, 1)])
    assert change.mean == pytest.approx(after - before, abs=1e-6)
    assert change.low < change.mean < change.high
    assert found["breaks"] == {"predictions": 10.0, "perplexity": 10.0}
    assert found["alike"]["25-bin"]["too_alike"] == 1  # the same of both seeds
    assert [pair["r"] for pair in found["alike"]["9-bin"]["most_alike"]] == [0.5, 0.5]


def test_a_peak_that_another_strength_surpasses_is_refuted(tmp_path: Path) -> None:
    config, ratings, folder = kept(
        tmp_path, {"strength 1 predicted": 0.5, "strength 10 predicted": 0.5}
    )
    found = tables(results(config), folder, config, ratings)
    [peak] = [one for one in found["insights"] if one["name"] == "peak"]
    outcomes = {one["what"]: one["outcome"] for one in peak["tests"]["predicted"]}
    assert outcomes["arousal at 1 less at 2"] == REFUTED
    assert outcomes["arousal at 2"] == UNDECIDED
    assert peak["verdict"] == FAILS


def test_what_is_worse_only_in_between_breaks_nothing(tmp_path: Path) -> None:
    config, ratings, folder = kept(tmp_path, {"strength 2 predicted": 2.0})
    found = tables(results(config), folder, config, ratings)
    assert found["breaks"]["predictions"] is None


def test_predictions_survive_and_damage_is_told(tmp_path: Path) -> None:
    Predictions(tmp_path, 3).put("a", np.ones((2, 2)))
    again = Predictions(tmp_path, 3)
    assert again.names == {"a"}
    assert again.get("a").tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(RunError, match="no predictions for 'b'"):
        again.get("b")
    file = tmp_path / "predictions_3.npz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RunError, match=r"damaged.*delete it"):
        Predictions(tmp_path, 3)
