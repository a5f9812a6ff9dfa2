"""Files of pairs: what they say, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.pairs import Pair, read_pairs, read_preference_pairs

PAIR = {"emotion": "anger", "prompt": "P", "chosen": "C", "rejected": "R", "split": "test"}
ASKED = "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?"


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "pairs.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def preference(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": chosen, "rejected": rejected}


def test_pairs(tmp_path: Path) -> None:
    path = write(tmp_path, PAIR, "", json.dumps(PAIR | {"chosen": "a\u2028b"}, ensure_ascii=False))
    first, second = read_pairs(path)
    assert first == Pair(emotion="anger", prompt="P", chosen="C", rejected="R", split="test")
    assert second.chosen == "a\u2028b"  # a line separator is text


def test_own_pairs() -> None:
    pairs = read_pairs()
    for emotion in ("curiosity", "anger"):
        own = [pair for pair in pairs if pair.emotion == emotion]
        assert len(own) == 110
        held_out = [number for number, pair in enumerate(own, 1) if pair.split == "test"]
        assert held_out == list(range(5, 111, 5))
    assert len({pair.prompt for pair in pairs}) == len(pairs) == 220
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    assert len(set(texts)) == 440
    for pair in pairs:
        lengths = [len(text.split()) for text in (pair.chosen, pair.rejected)]
        assert min(lengths) >= 10 and max(lengths) <= 30 and abs(lengths[0] - lengths[1]) <= 6


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"line 1: not JSON"),
        ("[1]", r"line 1: expected an object"),
        ({"chosen": "C"}, r"line 1: the keys must be .*'emotion'"),
        (PAIR | {"colour": "blue"}, r"line 1: the keys must be .* got .*'colour'"),
        (PAIR | {"prompt": 3}, r"line 1: 'prompt' must be a text, got 3"),
        (PAIR | {"emotion": "angst"}, r"line 1: unknown emotion 'angst'"),
        (PAIR | {"split": "tset"}, r"line 1: unknown split 'tset'.*test"),
        (PAIR | {"chosen": " "}, r"line 1: the chosen reply is empty; delete"),
        (PAIR | {"prompt": " "}, r"line 1: the prompt is empty; delete"),
        (PAIR | {"chosen": "R "}, r"line 1: both replies are the same; delete"),
        ("", r"has no pairs"),
    ],
)
def test_bad_pairs(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pairs(write(tmp_path, row))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give the path"):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "latin").write_bytes(b'{"chosen": "caf\xe9"}')
    with pytest.raises(DataError, match=r"cannot be read: .*UTF-8"):
        read_preference_pairs(tmp_path / "latin")


def test_preference_pairs(tmp_path: Path) -> None:
    said = [ASKED + "\n\nAssistant:" + reply for reply in (" Yes:\n\nno.", " Four. ", "", " Four.")]
    elsewhere = said[0].replace("One", "Ten")
    read = read_preference_pairs(
        write(
            tmp_path,
            preference(said[0], said[1]),
            preference(elsewhere, said[1]),
            preference(said[0], said[2]),
            preference(said[1], said[3]),
            preference(said[1], elsewhere),
        )
    )
    messages = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    assert read.pairs == [
        Pair(emotion="fear", prompt=messages, chosen="Yes:\n\nno.", rejected="Four.")
    ]
    assert read.left_out == {
        "beginnings differ": 2,
        "a reply is empty": 1,
        "replies are the same": 1,
    }


def test_preference_pairs_of_another_emotion(tmp_path: Path) -> None:
    path = write(tmp_path, preference(f"{ASKED}\n\nAssistant: a", f"{ASKED}\n\nAssistant: b"))
    assert read_preference_pairs(path, emotion="joy").pairs[0].emotion == "joy"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": f"{ASKED}\n\nAssistant: a"}, r"line 1: 'rejected' must be a text, got None"),
        (preference(ASKED, ASKED), r"line 1: a dialogue .* ends with one of the assistant"),
        (preference("Hello", "Hello"), r"line 1: a dialogue begins with 'Human:'.* 'Hello'"),
        (preference("\n\nAssistant: Hi", "\n\nAssistant: Ho"), r"has two turns or more"),
        (
            preference("\n\nHuman: \n\nAssistant: Hi", "\n\nHuman: \n\nAssistant: Ho"),
            r"line 1: turn 1 of a dialogue is empty; delete",
        ),
        (
            preference(f"{ASKED}\n\nAssistant: a", f"{ASKED}\n\nAssistant:"),
            r"no usable pair; left out: \{'a reply is empty': 1\}",
        ),
    ],
)
def test_bad_preference_pairs(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_preference_pairs(write(tmp_path, row))
