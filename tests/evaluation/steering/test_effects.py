"""Effects of steering on replies: the size by hand, resuming, and models that break."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.evaluation import RunError
from erm_gym.evaluation.config import RunInterrupted
from erm_gym.evaluation.steering.effects import EffectConfig, cohens_d, measure_effects
from erm_gym.evaluation.steering.readers import LexiconReader
from erm_gym.evaluation.storage import read_json
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.steering import AffectSteering, ContrastiveDirections, FittedSteering, SteeringError

PROMPTS = ("Hi", "Who are you?", "Why?")


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def steering(llm: FrozenLLM) -> FittedSteering:
    direction = torch.randn(2, 1, llm.hidden_size, generator=torch.Generator().manual_seed(0))
    return FittedSteering(
        directions=ContrastiveDirections(
            emotions=("fear", "joy"),
            layers=(2,),
            directions=direction,
            counts=((1, 1), (1, 1)),
            fingerprint=llm.fingerprint,
        )
    )


class LengthReader:
    """Takes long texts for emotional ones."""

    name = "length"
    about = "characters"

    def __call__(self, texts: Sequence[str], emotion: str) -> np.ndarray:
        return np.array([float(len(text)) for text in texts])


def config(**changes: Any) -> EffectConfig:
    given: dict[str, Any] = {
        "prompts": PROMPTS,
        "emotions": ("joy",),
        "strengths": (1.0, 1e30),
        "bins": (),
        "max_new_tokens": 4,
    }
    return EffectConfig(**{**given, **changes})


def test_cohens_d_by_hand() -> None:
    """Means 3 and 1, variances 2 and 2."""
    found = cohens_d(np.array([2.0, 4.0]), np.array([0.0, 2.0]), np.random.default_rng(0))
    assert found is not None
    assert found.mean == pytest.approx(2.0 / math.sqrt(2.0))


def test_prompts_that_one_side_left_unanswered_do_not_count() -> None:
    steered, plain = np.array([2.0, np.nan, 4.0]), np.array([0.0, 9.0, 2.0])
    found = cohens_d(steered, plain, np.random.default_rng(0))
    assert found is not None
    assert found.mean == pytest.approx(math.sqrt(2.0))


def test_where_nothing_varies_there_is_no_effect_size() -> None:
    assert cohens_d(np.ones(3), np.zeros(3), np.random.default_rng(0)) is None
    assert cohens_d(np.ones(1), np.zeros(1), np.random.default_rng(0)) is None


def test_the_interval_holds_what_is_there_and_narrows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 2000):
        found = cohens_d(rng.normal(0.5, 1, count), rng.normal(0, 1, count), rng)
        assert found is not None
        assert found.low < 0.5 < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 5


def test_replies_are_kept_and_a_model_that_overflows_is_broken(
    llm: FrozenLLM, steering: FittedSteering, tmp_path: Path
) -> None:
    results = measure_effects(llm, steering, [LengthReader()], config(), tmp_path)
    assert set(results["conditions"]) == {"unsteered", "joy 1", "joy 1e+30"}
    assert len(results["conditions"]["joy 1"]["replies"]) == len(PROMPTS)
    joy = results["effects"]["joy"]
    assert joy["breaks"] == 1e30
    assert joy["strengths"]["1"]["perplexity_ratio"] > 0
    assert joy["reported"] == 0.63
    assert read_json(tmp_path / "effects.json")["effects"]["joy"]["breaks"] == 1e30


def test_what_is_stopped_goes_on_and_ends_alike(
    llm: FrozenLLM, steering: FittedSteering, tmp_path: Path
) -> None:
    whole = measure_effects(llm, steering, [LengthReader()], config(), tmp_path / "whole")

    def stop(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match=r"2 of 3 conditions"):
        measure_effects(
            llm, steering, [LengthReader()], config(), tmp_path / "parts", progress=stop
        )
    seen: list[str] = []
    parts = measure_effects(
        llm,
        steering,
        [LengthReader()],
        config(),
        tmp_path / "parts",
        progress=lambda name, done, total: seen.append(name),
    )
    assert parts["conditions"] == whole["conditions"]
    with pytest.raises(RunError, match="other settings"):
        measure_effects(llm, steering, [LengthReader()], config(seed=1), tmp_path / "parts")
    assert steering.directions is not None
    other = replace(steering.directions, directions=2.0 * steering.directions.directions)
    with pytest.raises(RunError, match="other settings"):
        measure_effects(
            llm,
            FittedSteering(directions=other),
            [LengthReader()],
            config(),
            tmp_path / "parts",
        )


def test_replies_are_steered_towards_bins(
    llm: FrozenLLM, steering: FittedSteering, tmp_path: Path
) -> None:
    texts = [f"{'What joy' if n % 2 else 'What grief'}, number {n}." for n in range(120)]
    ratings = torch.tensor([[3.0 + n % 2, 2.0 + n % 3] for n in range(120)])
    affect = AffectSteering.fit(llm, texts, ratings, head_layer=3, target_layers=(1, 2))
    affect.feedback.gates.fill_(0.2)  # whatever was learned from so few texts
    affect.save(tmp_path)
    assert steering.directions is not None
    steering.directions.save(tmp_path)
    both = FittedSteering.load(tmp_path, llm)
    own = config(bins=("positive, strong",), bin_strengths=(20.0,))
    found = measure_effects(llm, both, [LengthReader()], own, tmp_path / "out")
    assert set(found["effects"]) == {"joy", "positive, strong"}
    [entry] = found["effects"]["positive, strong"]["strengths"].values()
    assert set(entry["d"]["length"]) == {"joy"}
    conditions = found["conditions"]
    assert conditions["positive, strong 20"]["replies"] != conditions["unsteered"]["replies"]


def test_nothing_fitted_is_an_error(llm: FrozenLLM, tmp_path: Path) -> None:
    with pytest.raises(SteeringError, match="erm-gym steer fit"):
        FittedSteering.load(tmp_path, llm)


def test_wrong_settings_are_errors(
    llm: FrozenLLM, steering: FittedSteering, tmp_path: Path
) -> None:
    with pytest.raises(SteeringError, match="unknown target 'anger'; it may be one of fear, joy"):
        measure_effects(llm, steering, [], config(emotions=("anger",)), tmp_path)
    for changes, message in (
        ({"prompts": ("one",)}, "two at least"),
        ({"strengths": (0.0,)}, "above 0"),
        ({"bin_strengths": (0.0,)}, "above 0"),
        ({"emotions": ()}, "one at least"),
    ):
        with pytest.raises(RunError, match=message):
            config(**changes)


def test_the_lexicon_counts_words_of_an_emotion() -> None:
    reader = LexiconReader()
    assert reader(["the happy child", ""], "joy")[0] == pytest.approx(2 / 3)  # happy, child
    assert np.isnan(reader([""], "joy")[0])
    assert reader(["the table"], "fear").tolist() == [0.0]
