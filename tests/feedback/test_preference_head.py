"""The preference head: margins by hand, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.feedback import Episode, Prompt, UserError
from erm_gym.feedback.episode_reading import reply_states
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, save_head
from erm_gym.feedback.preference_head import NAME, PreferenceHead, mean_and_last
from erm_gym.llm import FrozenLLM

EPISODES = [Episode(prompt=Prompt(text="Hi"), reply=reply) for reply in ("Well.", "No, no", "")]


@pytest.fixture
def head(llm: FrozenLLM) -> PreferenceHead:
    made = PreferenceHead.for_llm(llm)
    made.mean, made.std = torch.full_like(made.mean, 2.0), torch.full_like(made.std, 4.0)
    made.linear.bias.data.fill_(0.5)
    return made


def test_margins_by_hand(llm: FrozenLLM, head: PreferenceHead) -> None:
    margins = head.margins(llm, EPISODES)
    assert margins.shape == (3,) and margins.dtype == np.float32
    weight = head.state_dict()["linear.weight"][0]
    for margin, states in zip(margins, reply_states(llm, EPISODES), strict=True):
        expected = float(((mean_and_last(states) - 2.0) / 4.0 * weight).sum()) + 0.5
        assert margin == pytest.approx(expected, abs=1e-4)
    assert np.ptp(margins) > 1e-3


def test_all_replies_are_alike_to_a_new_head(llm: FrozenLLM) -> None:
    assert PreferenceHead(llm.hidden_size).margins(llm, EPISODES).tolist() == [0.0] * 3


def test_the_head_of_the_tiny_model_is_seeded(llm: FrozenLLM) -> None:
    torch.manual_seed(5)
    one, other = PreferenceHead.for_llm(llm), PreferenceHead.for_llm(llm)
    assert not one.training
    assert torch.equal(one.linear.weight, other.linear.weight)
    assert bool(one.linear.weight.any())


def test_saved_is_loaded(llm: FrozenLLM, head: PreferenceHead, tmp_path: Path) -> None:
    path = save_head(head, NAME, tmp_path / "new", llm_fingerprint=llm.fingerprint)
    assert path == tmp_path / "new" / "preference.safetensors"
    assert path.stat().st_mode & 0o044 == 0o044  # others can read it
    loaded = PreferenceHead.for_llm(llm, tmp_path / "new")
    np.testing.assert_array_equal(loaded.margins(llm, EPISODES), head.margins(llm, EPISODES))


def test_the_shipped_files_are_there() -> None:
    assert {"preference.safetensors", "preference.json"} <= {
        p.name for p in SHIPPED_WEIGHTS.iterdir()
    }


def test_files_that_do_not_fit_are_named(
    llm: FrozenLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"'preference' cannot read its weights {tmp_path}.*train"):
        PreferenceHead.for_llm(llm, tmp_path)
    with pytest.raises(
        UserError, match=f"has weights for 'llama-576.*'tiny' is '{llm.fingerprint}"
    ):
        PreferenceHead.for_llm(llm, SHIPPED_WEIGHTS)  # they are for the default model
    save_head(PreferenceHead(llm.hidden_size // 2), NAME, tmp_path, llm_fingerprint=llm.fingerprint)
    with pytest.raises(UserError, match="holds no weights of the user 'preference'"):
        PreferenceHead.for_llm(llm, tmp_path)
    monkeypatch.setattr(llm, "name", "stranger")
    with pytest.raises(UserError, match=r"'stranger' is .*scripts/train_preference\.py --llm NAME"):
        PreferenceHead.for_llm(llm)


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.99])
def test_a_truncated_file_is_named(
    llm: FrozenLLM, head: PreferenceHead, tmp_path: Path, keep: float
) -> None:
    path = save_head(head, NAME, tmp_path, llm_fingerprint=llm.fingerprint)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(UserError, match=f"'preference' cannot read its weights {path}"):
        PreferenceHead.for_llm(llm, tmp_path)
