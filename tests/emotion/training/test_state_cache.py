"""Hidden states on disk: computed once, resumed, and never those of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.emotion.training import state_cache as module
from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.state_cache import ABOUT, STATES, StateCache
from erm_gym.llm import FrozenLLM, load_llm, read_layers

TEXTS = ["One text.", "Another, longer text than that.", "a", "The fourth.", "And the last one!"]


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny", dtype="bfloat16")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 2)


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("read again")


def test_batches_hold_the_states_of_their_texts(tmp_path: Path, llm: FrozenLLM) -> None:
    seen = []
    cache = StateCache(
        tmp_path, llm, TEXTS, (1, llm.layer), progress=lambda *where: seen.append(where)
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    states, mask = cache.batch([1, 2])
    lengths = [len(llm.encode_prompt(TEXTS[row])) - len(llm.template) for row in (1, 2)]
    assert mask.sum(dim=1).tolist() == lengths == cache.lengths[[1, 2]].tolist()
    assert states.shape == (2, max(lengths), 2, llm.hidden_size)
    for row, own, length in zip((1, 2), states, lengths, strict=True):
        expected = llm.recompute(llm.encode_prompt(TEXTS[row]))[1][len(llm.template) :]
        torch.testing.assert_close(own[:length, 1], expected, atol=0.1, rtol=0.05)
        assert not own[length:].any()


def test_the_second_time_nothing_is_read(
    tmp_path: Path, llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StateCache(tmp_path, llm, TEXTS, (1,)).batch(range(5))[0]
    monkeypatch.setattr(module, "read_layers", refuse)
    assert torch.equal(StateCache(tmp_path, llm, TEXTS, (1,)).batch(range(5))[0], first)


@pytest.mark.parametrize("harm", ["torn tail", "lost tail", "lost count", "torn count", "killed"])
def test_what_is_missing_is_read_and_no_more(
    tmp_path: Path, llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    whole = StateCache(tmp_path, llm, TEXTS, (1,))
    expected = whole.batch(range(5))[0]
    states, about = whole.folder / STATES, whole.folder / ABOUT
    if harm == "torn tail":
        states.write_bytes(states.read_bytes() + b"half a state")
    elif harm == "lost tail":
        states.write_bytes(states.read_bytes()[:-1])
    elif harm == "lost count":
        about.unlink()
    elif harm == "torn count":
        about.write_text('{"fingerprint"')
    else:
        about.write_text(about.read_text().replace('"done": 5', '"done": 2'))
    read: list[int] = []

    def count(llm: FrozenLLM, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        read.append(len(sequences))
        return read_layers(llm, sequences, *args, **kwargs)

    monkeypatch.setattr(module, "read_layers", count)
    again = StateCache(tmp_path, llm, TEXTS, (1,)).batch(range(5))[0]
    assert torch.equal(again, expected)
    assert sum(read) == {"torn tail": 0, "lost tail": 1, "killed": 3}.get(harm, 5)


def test_other_texts_and_layers_have_caches_of_their_own(tmp_path: Path, llm: FrozenLLM) -> None:
    folders = {
        StateCache(tmp_path, llm, TEXTS, (1,)).folder,
        StateCache(tmp_path, llm, TEXTS, (2,)).folder,
        StateCache(tmp_path, llm, TEXTS[:4], (1,)).folder,
        StateCache(tmp_path, load_llm("tiny"), TEXTS, (1,)).folder,
    }
    assert len(folders) == 4


def test_a_full_disk_leaves_what_was_done(
    tmp_path: Path, llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StateCache(tmp_path / "whole", llm, TEXTS, (1,))
    calls = []

    def fill(llm: FrozenLLM, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(len(sequences))
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return read_layers(llm, sequences, *args, **kwargs)

    monkeypatch.setattr(module, "read_layers", fill)
    with pytest.raises(DataError, match=r"No space left.*make room and run the same command"):
        StateCache(tmp_path, llm, TEXTS, (1,))
    cache = StateCache(tmp_path, llm, TEXTS, (1,))
    assert calls == [2, 2, 2, 1]
    rows = np.arange(5).tolist()
    assert torch.equal(cache.batch(rows)[0], whole.batch(rows)[0])


def test_texts_that_cannot_be_read(tmp_path: Path, llm: FrozenLLM) -> None:
    with pytest.raises(DataError, match="empty"):
        StateCache(tmp_path, llm, ["fine", "  "], (1,))
    with pytest.raises(DataError, match="no texts"):
        StateCache(tmp_path, llm, [], (1,))
    with pytest.raises(DataError, match="tokens"):
        StateCache(tmp_path, llm, ["word " * 600], (1,))  # more than the tiny model reads
