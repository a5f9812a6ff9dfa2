"""Affect steering as one: strength zero, rows with bins of their own, and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from erm_gym.llm import FrozenLLM, LLMError, load_llm
from erm_gym.steering import AffectSteering, SteeringConfig, SteeringError

TEXTS = [f"{'What joy' if n % 2 else 'What grief'}, said number {n}." for n in range(60)]
RATINGS = torch.tensor([[3.0 + n % 2, 2.0 + n % 3] for n in range(60)])


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture(scope="module")
def steering(llm: FrozenLLM) -> AffectSteering:
    """With open gates, whatever was learned from so few texts."""
    made = AffectSteering.fit(llm, TEXTS, RATINGS, head_layer=3, target_layers=(1, 2))
    made.feedback.gates.fill_(0.1)
    return made


def config(strength: float, **changes: object) -> SteeringConfig:
    given: dict[str, object] = {"target_layers": (1, 2), "approach": "dual", "min_samples": 1}
    return SteeringConfig(strength=strength, **{**given, **changes})  # type: ignore[arg-type]


def test_strength_zero_is_bit_identical_to_no_steering(steering: AffectSteering) -> None:
    assert torch.equal(steering.steered(TEXTS[:5], config(0.0)), steering.predict(TEXTS[:5]))
    assert not torch.equal(steering.steered(TEXTS[:5], config(1.0)), steering.predict(TEXTS[:5]))


def test_rows_of_a_batch_have_bins_of_their_own(steering: AffectSteering) -> None:
    """Each text is steered alike alone and among others of other bins."""
    together = steering.steered(TEXTS[:6], config(2.0), RATINGS[:6])
    for row in range(6):
        alone = steering.steered([TEXTS[row]], config(2.0), RATINGS[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-4, rtol=1e-3)
    others = steering.steered(TEXTS[:6], config(2.0), RATINGS[1:7])
    assert not torch.allclose(together, others, atol=1e-4)


def test_bins_with_too_few_texts_do_not_steer(steering: AffectSteering) -> None:
    untouched = steering.steered(TEXTS[:3], config(2.0, min_samples=1000))
    torch.testing.assert_close(untouched, steering.predict(TEXTS[:3]), atol=1e-5, rtol=1e-4)


def test_layers_without_feedback_are_an_error(steering: AffectSteering) -> None:
    with pytest.raises(SteeringError, match=r"layers \[3\] cannot be steered; \(1, 2\) can"):
        steering.steered(TEXTS[:1], config(1.0, target_layers=(3,)))


def test_rows_are_steered_towards_bins_of_their_own(
    llm: FrozenLLM, steering: AffectSteering
) -> None:
    """A bin's edit is that of its mean signal."""
    own = steering.signals["9-bin"]
    labels = ["negative, weak", "positive, strong"]
    settings = config(2.0, min_samples=5)
    states = torch.randn(2, 3, llm.hidden_size, generator=torch.Generator().manual_seed(0))
    edited = steering.edits_towards(labels, settings)[1](states)
    for row, label in enumerate(labels):
        means = own.means[own.grid.labels.index(label)][None]
        expected = steering.feedback.edit(1, means, torch.tensor([2.0]))(states[row : row + 1])
        torch.testing.assert_close(edited[row : row + 1], expected)
    assert not torch.allclose(edited[0] / states[0], edited[1] / states[1])
    assert steering.edits_towards(labels, config(0.0)) == {}


def test_bins_that_cannot_be_steered_towards_are_errors(steering: AffectSteering) -> None:
    with pytest.raises(SteeringError, match=r"positive, strong; did you mean 'positive, weak'"):
        steering.edits_towards(["positive, weakly"], config(1.0))
    with pytest.raises(SteeringError, match=r"has \d+ training texts, and min_samples is 1000"):
        steering.edits_towards(["positive, weak"], config(1.0, min_samples=1000))


def test_thresholds_are_the_users(llm: FrozenLLM, tmp_path: Path) -> None:
    made = AffectSteering.fit(llm, TEXTS, RATINGS, head_layer=3, target_layers=(2,), threshold=0.5)
    made.save(tmp_path)
    loaded = AffectSteering.load(tmp_path, llm)
    assert loaded.signals["9-bin"].grid.thresholds == (-0.5, 0.5)
    assert loaded.signals["25-bin"].grid.thresholds == (-1.0, -0.5, 0.5, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 2.0}, "threshold must be above 0"),
        ({"target_layers": (2, 2)}, "different"),
        ({"target_layers": (0,)}, "from 1 on"),
        ({"mode": "added"}, "mode must be one of"),
        ({"head_layer": 9}, "layers 0 <= first < last < 4"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_read(
    llm: FrozenLLM, changes: dict[str, Any], message: str
) -> None:
    given = {"head_layer": 3, "target_layers": (1, 2), **changes}
    with pytest.raises(ValueError, match=message):
        AffectSteering.fit(llm, [""] * 99, torch.zeros(99, 2), **given)  # texts that cannot be read


def test_what_was_saved_is_loaded(llm: FrozenLLM, steering: AffectSteering, tmp_path: Path) -> None:
    steering.save(tmp_path)
    loaded = AffectSteering.load(tmp_path, llm)
    for one in (config(1.5), config(1.5, binning="25-bin", approach="arousal-only")):
        assert torch.equal(loaded.steered(TEXTS[:4], one), steering.steered(TEXTS[:4], one))


def test_files_that_do_not_fit_are_errors(
    llm: FrozenLLM, steering: AffectSteering, tmp_path: Path
) -> None:
    steering.save(tmp_path)
    file = tmp_path / "affect.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with pytest.raises(LLMError, match="cut off"):
        AffectSteering.load(tmp_path, llm)
    own = replace(
        steering.signals["25-bin"], min_samples=3, means=steering.signals["25-bin"].means + 1
    )
    own.save(tmp_path)  # as if a later fit was killed here
    file.write_bytes(whole)
    with pytest.raises(LLMError, match=r"the 25-bin signals .* belong to another fit"):
        AffectSteering.load(tmp_path, llm)
    file.write_bytes(whole.replace(llm.fingerprint.encode(), b"x" * len(llm.fingerprint)))
    with pytest.raises(LLMError, match="belongs to xxx"):
        AffectSteering.load(tmp_path, llm)
    with pytest.raises(LLMError, match="holds no affect pathways"):
        AffectSteering.load(tmp_path / "nowhere", llm)
