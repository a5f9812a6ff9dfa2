"""Saving and loading a critic, and every way in which a saved critic can be wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from erm_gym.emotion import CriticError, EmotionalCritic, FearConfig, checkpoint, shipped_names

WEIGHTS = "model.safetensors"


@pytest.fixture
def critic(llm: Any) -> EmotionalCritic:
    """A critic whose danger net alone differs from its start."""
    critic = EmotionalCritic.for_llm(llm, seed=3, fear=FearConfig(decay=0.8, clock="turn"))
    for parameter in critic.fear_module.danger_net.parameters():
        nn.init.normal_(parameter)
    return critic


@pytest.fixture
def folder(critic: EmotionalCritic, tmp_path: Path) -> Path:
    critic.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def assert_same(first: EmotionalCritic, second: EmotionalCritic) -> None:
    assert first.config == second.config
    own, other = first.state_dict(), second.state_dict()
    assert own.keys() == other.keys()
    for name in own:
        assert torch.equal(own[name], other[name]), name


def stored_names(folder: Path) -> set[str]:
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        return set(file.keys())


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_load_equals_save(critic: EmotionalCritic, folder: Path, llm: Any) -> None:
    loaded = EmotionalCritic.from_pretrained(folder, llm=llm)
    assert_same(loaded, critic)
    assert not loaded.training
    assert_same(EmotionalCritic.from_pretrained(str(folder)), critic)  # without the language model
    hidden = torch.randn(2, 1, 4, 12)
    signals, _, _ = critic.observe(hidden, critic.initial_state(2))
    again, _, _ = loaded.observe(hidden, loaded.initial_state(2))
    assert torch.equal(signals.tensor, again.tensor)


def test_what_was_not_trained_is_not_stored(critic: EmotionalCritic, folder: Path) -> None:
    net = critic.fear_module.danger_net.state_dict()
    danger = {f"fear_module.danger_net.{name}" for name in net}
    categories = {f"category.{name}" for name in ("cautious", "exploratory", "alternative")}
    assert stored_names(folder) == danger | categories


def test_a_trained_critic_is_stored_whole(
    critic: EmotionalCritic, tmp_path: Path, llm: Any
) -> None:
    critic.modulator.W.data[2, 5] = 1.0
    critic.erm.heads.bias.data += 0.1
    critic.config = dataclasses.replace(critic.config, trained=True)
    critic.save_pretrained(tmp_path)
    names = stored_names(tmp_path)
    assert {"modulator.W.values", "erm.heads.bias", "erm.encoders.1.layers.0.weight"} <= names
    loaded = EmotionalCritic.from_pretrained(tmp_path, llm=llm)
    assert_same(loaded, critic)
    assert loaded.notice() is None
    loaded.save_pretrained(tmp_path / "again")  # and once more, from the loaded one
    assert_same(EmotionalCritic.from_pretrained(tmp_path / "again"), critic)


def test_the_learned_bias_is_stored_without_its_zeros(
    critic: EmotionalCritic, tmp_path: Path, llm: Any
) -> None:
    bias = critic.modulator.W.data
    bias[0, 7], bias[5, llm.vocab_size - 1], bias[2, 0], bias[2, 1] = 1 / 3, -2.0, 1e-40, -0.0
    critic.save_pretrained(tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    assert stored["modulator.W.indices"].tolist() == [[0, 2, 2, 5], [7, 0, 1, llm.vocab_size - 1]]
    assert "modulator.W" not in stored
    loaded = EmotionalCritic.from_pretrained(tmp_path).modulator.W.data
    assert torch.equal(loaded.view(torch.int32), bias.view(torch.int32))  # every bit


@pytest.mark.parametrize(
    "indices", [[[6], [0]], [[0], [-1]], [[0], [10**6]], [[0, 1], [0, 1]], [[0]]]
)
def test_a_learned_bias_at_wrong_places_is_an_error(
    critic: EmotionalCritic, tmp_path: Path, indices: list[list[int]]
) -> None:
    critic.modulator.W.data[0, 7] = 1.0
    critic.save_pretrained(tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    stored["modulator.W.indices"] = torch.tensor(indices)
    with safe_open(tmp_path / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
    save_file(stored, tmp_path / WEIGHTS, metadata)
    with pytest.raises(CriticError, match=r"modulator.W are not at places within \(6, "):
        EmotionalCritic.from_pretrained(tmp_path)


def test_loading_leaves_the_global_generator_alone(folder: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    EmotionalCritic.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_critics_of_the_package_are_found_by_name(
    critic: EmotionalCritic, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", folder.parent)
    assert shipped_names() == ["saved"]
    assert_same(EmotionalCritic.from_pretrained("saved"), critic)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 13}, "hidden size 12 and not 13"),
        ({"vocab_size": 99}, "vocabulary size .* and not 99"),
        ({"fingerprint": "other-1"}, "fingerprint stand-in-0 and not other-1"),
        ({"layer": 5}, "layer 2 and not 5"),
    ],
)
def test_another_language_model_is_an_error(
    folder: Path, llm: Any, change: dict[str, Any], message: str
) -> None:
    vars(llm).update(change, name="another")
    with pytest.raises(CriticError, match=rf"'stand-in', not for 'another': {message}.*for_llm"):
        EmotionalCritic.from_pretrained(folder, llm=llm)


@pytest.mark.parametrize("kept", [0, 5, 500, -1])
def test_a_truncated_file_is_an_error(folder: Path, kept: int) -> None:
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CriticError, match=r"model.safetensors is truncated or damaged .* again"):
        EmotionalCritic.from_pretrained(folder)


def test_missing_files_are_errors(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(CriticError, match=r"model.safetensors is missing"):
        EmotionalCritic.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CriticError, match=r"has no config.json; give a folder"):
        EmotionalCritic.from_pretrained(folder)


def test_a_name_that_is_nowhere_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("nobody/no-such-critic", "no such critic", str(tmp_path / "nowhere")):
        with pytest.raises(CriticError, match=r"No critic at .* correct the name"):
            EmotionalCritic.from_pretrained(name, cache_dir=tmp_path)


def test_a_config_that_is_no_critics_is_an_error(folder: Path) -> None:
    edit_config(folder, colour="blue")
    with pytest.raises(CriticError, match=r"not a critic's: .*'colour'"):
        EmotionalCritic.from_pretrained(folder)
    (folder / "config.json").write_text('{"layer": ')
    with pytest.raises(CriticError, match=r"config.json of .* is not JSON"):
        EmotionalCritic.from_pretrained(folder)


@pytest.mark.parametrize("change", [{"hidden_size": 8}, {"vocab_size": 4}])
def test_files_of_two_critics_are_an_error(folder: Path, change: dict[str, int]) -> None:
    edit_config(folder, **change)
    with pytest.raises(CriticError, match=r"does not fit the config.json .*Keep the two files"):
        EmotionalCritic.from_pretrained(folder)


def test_weights_that_nobody_left_out_must_be_there(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors, folder / WEIGHTS)  # without the metadata that names what was left out
    with pytest.raises(CriticError, match="lacks weights of a critic"):
        EmotionalCritic.from_pretrained(folder)
