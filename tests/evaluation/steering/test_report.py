"""The page of a quick run on the tiny model: what was measured stays on it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch

from erm_gym.cli.steer import FitSteering, SweepSteering
from erm_gym.evaluation import RunError
from erm_gym.evaluation.steering.report import PARTS, Measurement, measure_steering
from erm_gym.evaluation.steering.sweep import SweepConfig
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.steering import AffectSteering, ContrastiveDirections, SteeringError


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("train", 60), ("dev", 30)):
        rows = [f"{n},{2 + n % 2},{2 + n % 3},3,{name} {n}" for n in range(count)]
        (folder / f"emobank_{name}.csv").write_text("\n".join(["id,V,A,D,text", *rows]) + "\n")
    return folder


def measurement(tmp_path: Path, *parts: str) -> Measurement:
    return Measurement(
        data=tmp_path / "data",
        steering=tmp_path / "steering",
        out=tmp_path / "out",
        parts=parts,
        head_layer=3,
        target_layers=(1, 2),
        quick=True,
        dtype="float32",
    )


def test_a_part_that_is_measured_later_joins_those_on_the_page(
    llm: FrozenLLM, data: Path, tmp_path: Path
) -> None:
    def load(dtype: str) -> FrozenLLM:
        return llm

    measure_steering(load, measurement(tmp_path, "affect"))
    page = tmp_path / "out/steering_quick/steering.md"
    assert "## Strength that is learned" not in page.read_text()
    ContrastiveDirections(
        emotions=("fear",),
        layers=(2,),
        directions=torch.ones(1, 1, llm.hidden_size),
        counts=((1, 1),),
        fingerprint=llm.fingerprint,
    ).save(tmp_path / "steering")
    found = measure_steering(load, measurement(tmp_path, "control"))
    assert set(found) == {"affect", "control"}
    text = page.read_text()
    for section in ("affect that is read", "finding's four insights", "Strength that is learned"):
        assert section in text
    assert "figures mean nothing" in text
    assert not (tmp_path / "out/steering.md").exists()


def test_what_is_missing_for_a_later_part_is_told_before_an_earlier_one(
    llm: FrozenLLM, data: Path, tmp_path: Path
) -> None:
    loaded: list[str] = []

    def load(dtype: str) -> FrozenLLM:
        loaded.append(dtype)
        return llm

    with pytest.raises(SteeringError, match="run erm-gym steer fit first"):
        measure_steering(load, measurement(tmp_path, "affect", "replies"))
    assert len(loaded) == 1
    assert not (tmp_path / "out").exists()


def test_results_of_another_version_are_told(llm: FrozenLLM, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out/steering_quick"
    folder.mkdir(parents=True)
    (folder / "effects.json").write_text(
        json.dumps({"config": {"llm": llm.fingerprint}, "effects": {}})
    )
    with pytest.raises(RunError, match="another version"):
        measure_steering(lambda dtype: llm, measurement(tmp_path, "affect"))
    (folder / "adaptive.json").write_text(json.dumps({"config": {"llm": "other"}, "agents": {}}))
    with pytest.raises(RunError, match="several language models"):
        measure_steering(lambda dtype: llm, measurement(tmp_path, "affect"))


def test_the_command_has_the_defaults_of_what_it_calls() -> None:
    command, asked, swept = (
        SweepSteering(),
        Measurement(data=Path(), steering=Path(), out=Path()),
        SweepConfig(),
    )
    assert command.parts == asked.parts == PARTS
    for name in ("head_layer", "target_layers", "mode", "seeds"):
        assert getattr(command, name) == getattr(asked, name) == getattr(swept, name)
    assert command.dtype == asked.dtype
    fit, parameters = FitSteering(), inspect.signature(AffectSteering.fit).parameters
    for name in ("head_layer", "target_layers", "mode", "threshold", "seed"):
        assert getattr(fit, name) == parameters[name].default


def test_unknown_parts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="parts are affect, replies, control; got afect"):
        measurement(tmp_path, "afect")
