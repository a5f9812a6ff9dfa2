"""Contrastive directions: what they are, what they add to whom, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from erm_gym.llm import FrozenLLM, LLMError, load_llm
from erm_gym.steering import ContrastiveDirections, contrastive_directions


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def made(**changes: Any) -> ContrastiveDirections:
    """Two emotions, two layers, width 2."""
    given: dict[str, Any] = {
        "emotions": ("fear", "joy"),
        "layers": (1, 3),
        "directions": torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [3.0, 0.0]]]),
        "counts": ((4, 5), (6, 7)),
        "fingerprint": "model",
    }
    return ContrastiveDirections(**{**given, **changes})


def test_a_direction_is_the_difference_of_mean_states(llm: FrozenLLM) -> None:
    found = contrastive_directions(llm, {"joy": (["Great!"], ["Bad.", "Sad."])}, [2])
    means = []
    for text in ("Great!", "Bad.", "Sad."):
        tokens = [*llm.template, *llm.encode_text(text)]
        states = llm.model(torch.tensor([tokens]), output_hidden_states=True).hidden_states[2][0]
        means.append(states[len(llm.template) :].mean(dim=0))
    expected = means[0] - (means[1] + means[2]) / 2
    torch.testing.assert_close(found.directions[0, 0], expected, atol=1e-4, rtol=1e-3)
    assert found.counts == ((1, 2),)
    assert found.fingerprint == llm.fingerprint


def test_every_row_gets_its_own_sum_of_directions() -> None:
    edits = made().edits(torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 0.0]]))
    states = torch.full((3, 2, 2), 10.0)
    assert edits[1](states)[:, 0].tolist() == [[11.0, 10.0], [10.5, 9.0], [10.0, 10.0]]
    assert edits[3](states)[:, 1].tolist() == [[10.0, 12.0], [7.0, 11.0], [10.0, 10.0]]


def test_weights_of_zero_edit_nothing_at_all() -> None:
    assert made().edits(torch.zeros(3, 2)) == {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.zeros(3, 1), r"shape \(n, 2\).*got \(3, 1\)"),
        (torch.zeros(2), r"shape \(n, 2\)"),
        (torch.tensor([[0.0, float("nan")]]), "not finite"),
    ],
)
def test_wrong_weights_are_errors(weights: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().edits(weights)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    made().save(tmp_path)
    loaded = ContrastiveDirections.load(tmp_path)
    assert torch.equal(loaded.directions, made().directions)
    for name in ("emotions", "layers", "counts", "fingerprint"):
        assert getattr(loaded, name) == getattr(made(), name)


def test_a_file_that_was_cut_off_is_an_error_that_names_it(tmp_path: Path) -> None:
    made().save(tmp_path)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(LLMError, match=r"contrastive.safetensors.*erm-gym steer fit"):
        ContrastiveDirections.load(tmp_path)


def test_sides_without_texts_and_layers_that_are_not_there_are_errors(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="needs texts"):
        contrastive_directions(llm, {"joy": (["Great!"], [])}, [1])
    with pytest.raises(ValueError, match="layers 1 to 3; 4 was"):
        contrastive_directions(llm, {"joy": (["Great!"], ["Bad."])}, [4])
