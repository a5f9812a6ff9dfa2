"""Training the judge: it learns what can be learned, and reports what it reads right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.feedback import STANCES, StanceJudge
from erm_gym.feedback.judge_head import FEATURES
from erm_gym.feedback.judge_report import JudgeReport
from erm_gym.feedback.judge_training import read_hidden, train_judge
from erm_gym.llm import FrozenLLM

LETTERS = dict(zip(STANCES, "aeou", strict=True))


def labelled(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Replies whose stance is in the vowel that they are made of: easy to read."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        stance = STANCES[number % len(STANCES)]
        letters = rng.choice(list("bdg"), size=int(rng.integers(6, 14)))
        reply = " ".join(f"{letter}{LETTERS[stance]}" for letter in letters)
        split = ("train", "train", "validation", "test")[number // len(STANCES) % 4]
        rows.append(
            {"prompt": "Say", "reply": reply, "stance": stance, "split": split, "source": ""}
        )
    return rows


def test_it_learns_what_the_hidden_states_tell(llm: FrozenLLM) -> None:
    rows = labelled(192)
    told: list[tuple[int, int]] = []
    judge, report = train_judge(llm, rows, progress=lambda *where: told.append(where))
    assert isinstance(report, JudgeReport)
    assert not judge.head.training
    assert told == [(192, 192)]
    assert report.replies["test"] == 48
    assert report.replies["validation"] == 48
    assert report.accuracy["test"] > 0.8
    assert report.careful_recall > 0.8
    assert report.careful_false_alarms < 0.2
    confusion = np.array(report.confusion)
    assert confusion.shape == (4, 4) and (confusion.sum(axis=1) == 12).all()
    assert np.trace(confusion) / 48 == pytest.approx(report.accuracy["test"])
    assert confusion[1:3, 1:3].sum() / 24 == pytest.approx(report.careful_recall)
    assert confusion[[0, 3], 1:3].sum() / 24 == pytest.approx(report.careful_false_alarms)


def test_the_report_counts_replies_and_not_their_cuts(llm: FrozenLLM) -> None:
    """`JudgeReport.replies` is the number of labelled replies per split."""
    _, report = train_judge(llm, labelled(32))
    assert report.replies == {"train": 16, "validation": 8, "test": 8}


def test_training_is_seeded_and_leaves_global_randomness_alone(llm: FrozenLLM) -> None:
    rows = labelled(32)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, again, other = (
        train_judge(llm, rows, seed=seed)[0].head.state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[key]) for key, value in one.items())
    assert not all(torch.equal(value, other[key]) for key, value in one.items())


def test_replies_that_were_read_before_give_the_same_judge(llm: FrozenLLM) -> None:
    rows = labelled(32)
    one, report = train_judge(llm, rows, members=1)
    other, same = train_judge(llm, rows, hidden=read_hidden(llm, rows), members=1)
    assert report == same
    for key, value in one.head.state_dict().items():
        assert torch.equal(value, other.head.state_dict()[key])


def test_states_are_kept_and_read_again_if_they_are_of_other_replies(
    llm: FrozenLLM, tmp_path: Path
) -> None:
    rows, cache = labelled(32), tmp_path / "states.safetensors"
    told: list[int] = []

    def read(own: list[dict[str, str]]) -> list[torch.Tensor]:
        return read_hidden(llm, own, lambda done, total: told.append(done), cache=cache)

    first, again = read(rows), read(rows)
    assert told == [32]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert len(read(rows[:8])) == 8 and told == [32, 8]


def test_the_members_differ(llm: FrozenLLM) -> None:
    first, second = train_judge(llm, labelled(32), members=2)[0].head.members
    assert not torch.equal(*(next(iter(member.parameters())) for member in (first, second)))


def test_a_trained_judge_is_saved_and_loaded(llm: FrozenLLM, tmp_path: Path) -> None:
    judge, _ = train_judge(llm, labelled(32))
    judge.save_pretrained(tmp_path)
    loaded = StanceJudge.for_llm(llm, tmp_path)
    features = torch.ones(1, FEATURES * llm.hidden_size)
    assert torch.equal(loaded.head(features), judge.head(features))
    assert float(loaded.head.std.min()) > 0.0 and float(loaded.head.mean.abs().max()) > 0.0
