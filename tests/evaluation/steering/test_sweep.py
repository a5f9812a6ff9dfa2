"""A sweep on the tiny model: what it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.evaluation import RunError
from erm_gym.evaluation.config import RunInterrupted
from erm_gym.evaluation.steering.predictions import PLAIN, Predictions
from erm_gym.evaluation.steering.sweep import SweepConfig, sweep
from erm_gym.llm import FrozenLLM, load_llm


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def rated(name: str, count: int = 40) -> LabelledTexts:
    values = torch.tensor([[2.0 + n % 2, 2.0 + n % 3, 3.0] for n in range(count)])
    return LabelledTexts(source=name, texts=[f"{name} {n}" for n in range(count)], values=values)


def config(**changes: Any) -> SweepConfig:
    given: dict[str, Any] = {
        "head_layer": 3,
        "target_layers": (1, 2),
        "strengths": (2.0,),
        "seeds": (0, 1),
        "perplexity_texts": 2,
    }
    return SweepConfig(**{**given, **changes})


def test_what_is_stopped_goes_on_and_ends_alike(llm: FrozenLLM, tmp_path: Path) -> None:
    training, test = rated("train"), rated("test", 25)
    whole = sweep(llm, training, test, config(), tmp_path / "whole")

    def stop(work: str, done: int, total: int) -> None:
        if work == "conditions" and done == total // 2 + 3:  # in the middle of the second seed
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="kept"):
        sweep(llm, training, test, config(), tmp_path / "parts", progress=stop)
    parts = sweep(llm, training, test, config(), tmp_path / "parts")
    assert parts == whole
    for seed in (0, 1):
        one, other = (Predictions(tmp_path / name, seed) for name in ("whole", "parts"))
        for condition in [PLAIN, *map(str, config().conditions())]:
            np.testing.assert_allclose(one.get(condition), other.get(condition), atol=1e-5)
    assert set(whole["seeds"]) == {"0", "1"}
    assert whole["perplexity"]["unsteered"] > 1.0


def test_other_settings_want_another_folder(llm: FrozenLLM, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"config": {"seeds": [9]}}')
    with pytest.raises(RunError, match="other settings"):
        sweep(llm, rated("train"), rated("test"), config(), tmp_path)


def test_test_texts_are_never_learned_from(llm: FrozenLLM, tmp_path: Path) -> None:
    same = rated("same")
    with pytest.raises(RunError, match="of 0 rated texts 0 are the pathways'"):
        sweep(llm, same, same, config(), tmp_path)


def test_a_wrong_layer_leaves_nothing_behind(llm: FrozenLLM, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="layers 0 <= first < last < 4"):
        sweep(llm, rated("train"), rated("test"), config(head_layer=9), tmp_path)
    assert not list(tmp_path.iterdir())


def test_predictions_that_were_deleted_are_made_again(llm: FrozenLLM, tmp_path: Path) -> None:
    own = config(seeds=(0,))
    sweep(llm, rated("train"), rated("test"), own, tmp_path)
    file = tmp_path / "predictions_0.npz"
    before = {name: Predictions(tmp_path, 0).get(name) for name in Predictions(tmp_path, 0).names}
    file.unlink()
    sweep(llm, rated("train"), rated("test"), own, tmp_path)
    for name, expected in before.items():
        np.testing.assert_allclose(Predictions(tmp_path, 0).get(name), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_layers": (0, 1)}, "from 1 on"),
        ({"target_layers": (3,)}, "below head_layer 3"),
        ({"strengths": (1.0,)}, "must have 2.0"),
        ({"strengths": (2.0, float("nan"))}, "finite"),
        ({"seeds": (0, 0)}, "different"),
        ({"feedback_share": 1.0}, "below 1"),
        ({"perplexity_texts": 0}, "at least 1"),
        ({"mode": "added"}, "one of multiplicative, additive"),
    ],
)
def test_wrong_settings_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        config(**changes)
