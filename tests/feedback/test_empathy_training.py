"""Training the short ERM: it learns to read what an ERM reads, and is measured on others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalCritic, ERMConfig
from erm_gym.emotion.training.datasets import DataError
from erm_gym.feedback import empathy_training
from erm_gym.feedback.empathy_training import empathy_texts, fit_short_erm, train_empathy
from erm_gym.feedback.feelings import FEELINGS, NAME, load_short_erm
from erm_gym.feedback.head_files import save_head
from erm_gym.llm import FrozenLLM
from erm_gym.llm.frozen import Messages

NAMES = {*FEELINGS, "score"}
D = 32


def readable(count: int, seed: int = 0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Replies of 3 to 9 positions, and readings that are in nine numbers of each position."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 10, (count,), generator=generator).tolist()
    signs = torch.randint(0, 2, (count, 9), generator=generator) * 2.0 - 1.0
    hidden = []
    for row, length in enumerate(lengths):
        states = torch.randn(length, D, generator=generator)
        states[:, :9] = 2.0 * signs[row] + 0.3 * states[:, :9]
        hidden.append(states)
    readings = torch.cat([(2.0 * signs[:, :6]).sigmoid(), 3.0 + 0.5 * signs[:, 6:]], -1)
    return hidden, readings


def test_it_learns_what_can_be_read(llm: FrozenLLM) -> None:
    hidden, readings = readable(800)
    erm, report = fit_short_erm(llm, hidden, readings, np.arange(800))
    assert report.texts == {"test": 120, "validation": 120, "train": 560}
    assert set(report.correlation) == set(report.error) == set(report.spread) == NAMES
    assert min(report.correlation.values()) > 0.9
    assert all(report.error[name] < 0.5 * report.spread[name] for name in NAMES)
    assert not erm.training


def test_noise_is_not_learned(llm: FrozenLLM) -> None:
    hidden, readings = readable(400)
    _, report = fit_short_erm(llm, hidden, readings.roll(1, 0), np.arange(400))
    assert max(map(abs, report.correlation.values())) < 0.4
    assert all(report.error[name] > 0.8 * report.spread[name] for name in NAMES)


def test_texts_of_one_group_stay_together(llm: FrozenLLM) -> None:
    """Copies of one text in the same group: nothing that was trained on is tested."""
    hidden, readings = readable(60)
    copies = [own for own in hidden for _ in range(6)]
    felt = readings.roll(1, 0).repeat_interleave(6, 0)
    together = fit_short_erm(llm, copies, felt, np.repeat(np.arange(60), 6))[1]
    apart = fit_short_erm(llm, copies, felt, np.arange(360))[1]
    assert together.texts == {"test": 54, "validation": 54, "train": 252}
    assert apart.correlation["score"] > together.correlation["score"] + 0.3


def test_training_is_seeded_and_leaves_global_randomness_alone(llm: FrozenLLM) -> None:
    hidden, readings = readable(60)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, again, other = (
        fit_short_erm(llm, hidden, readings, np.arange(60), seed=seed)[0].state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[key]) for key, value in one.items())
    assert not all(torch.equal(value, other[key]) for key, value in one.items())
    with pytest.raises(ValueError, match="39 texts are too few; give at least 40"):
        fit_short_erm(llm, hidden[:39], readings[:39], np.arange(39))


def test_from_texts_to_a_file(llm: FrozenLLM, tmp_path: Path) -> None:
    critic = EmotionalCritic.for_llm(llm, erm=ERMConfig(layers=(1, 2, 3), affect=True))
    letters = np.random.default_rng(0).choice(list("abcdefg"), size=(60, 12))
    texts: list[tuple[Messages, str]] = [
        (f"Say {number}", "".join(row)) for number, row in enumerate(letters)
    ]
    told: list[tuple[int, int]] = []
    erm, report = train_empathy(
        llm, critic, [*texts, ("Say", "")], progress=lambda *where: told.append(where)
    )
    assert told == [(60, 60)]
    assert sum(report.texts.values()) == 60
    save_head(erm, NAME, tmp_path, llm_fingerprint=llm.fingerprint)
    loaded = load_short_erm(llm, tmp_path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in erm.state_dict().items())


def test_texts_come_from_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(empathy_training, "OWN_REPLIES", 5)
    monkeypatch.setattr(empathy_training, "COMMENTS", 2)
    (tmp_path / "goemotions_train.tsv").write_text(
        "Lovely!\t17\tid1\nAwful.\t2\tid2\nWho knows?\t6\tid3\n", encoding="utf-8"
    )
    start = "\n\nHuman: Hello?\n\nAssistant:"
    line = json.dumps({"chosen": f"{start} Yes.", "rejected": f"{start} No."})
    (tmp_path / "hh_harmless_a.jsonl").write_text(line + "\n", encoding="utf-8")
    texts = empathy_texts(tmp_path)
    assert len(texts) == 5 + 2 + 2
    assert {reply for _, reply in texts[5:7]} <= {"Lovely!", "Awful.", "Who knows?"}
    before = [{"role": "user", "content": "Hello?"}]
    assert texts[7:] == [(before, "Yes."), (before, "No.")]
    assert empathy_texts(tmp_path) == texts
    assert empathy_texts(tmp_path, seed=1) != texts
    with pytest.raises(DataError, match=r"goemotions_train\.tsv"):
        empathy_texts(tmp_path / "missing")
