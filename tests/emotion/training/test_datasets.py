"""Labelled files: what they say, and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from erm_gym.emotion.training.datasets import (
    DataError,
    LabelledTexts,
    find_training_texts,
    read_emobank,
    read_goemotions,
    read_label_names,
)
from erm_gym.emotion.training.labels import GOEMOTIONS

HEADER = "id,V,A,D,text\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "data"
    path.write_text(text, encoding="utf-8")
    return path


def test_goemotions(tmp_path: Path) -> None:
    path = write(tmp_path, 'I am "scared"\t14,27\tab1\nFine.\t4\tab2\n')
    data = read_goemotions(path)
    assert data.texts == ['I am "scared"', "Fine."]
    assert data.values.nonzero().tolist() == [[0, 14], [0, 27], [1, 4]]
    assert data.select(torch.tensor([1])).texts == ["Fine."]


def test_other_line_breaks_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "a,3,3,3,one\u2028two\n")
    assert read_emobank(path).texts == ["one\u2028two"]


def test_emobank(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + 'a,3.0,2.5,4.0,"Yes, ""no""."\nb,1,5,3,Two\n')
    data = read_emobank(path)
    assert data.texts == ['Yes, "no".', "Two"]
    assert data.values.tolist() == [[3.0, 2.5, 4.0], [1.0, 5.0, 3.0]]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_goemotions, "", "no labelled texts"),
        (read_goemotions, "no label\n", "line 1: expected text"),
        (read_goemotions, "a\t1\tx\n \t1\tx\n", "line 2: the text is empty"),
        (read_goemotions, "a\tjoy\tx\n", "line 1: labels are numbers"),
        (read_goemotions, "a\t28\tx\n", "label 28 does not exist"),
        (read_emobank, HEADER, "no labelled texts"),
        (read_emobank, "id,V,A,text\na,3,3,b\n", r"lacks the columns \['D'\]"),
        (read_emobank, HEADER + "a,3,x,3,b\n", "line 2: A is 'x'"),
        (read_emobank, HEADER + "a,3,6,3,b\n", r"line 2: A is 6.0, not within \[1.0, 5.0\]"),
        (read_emobank, HEADER + "a,nan,3,3,b\n", "line 2: V is nan"),
        (read_emobank, HEADER + "a,3,3,3,\n", "line 2: the text is empty"),
    ],
)
def test_bad_files(
    tmp_path: Path, read: Callable[[Path], LabelledTexts], text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, text))


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_goemotions(tmp_path / "none.tsv")
    (tmp_path / "latin").write_bytes(b"caf\xe9\t1\tx\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_goemotions(tmp_path / "latin")


def test_labels_in_another_order(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("joy\nfear\n\n")
    own = read_label_names(names)
    assert own == ("joy", "fear")
    data = read_goemotions(write(tmp_path, "a\t1\tx\nb\t0,1\ty\n"), own)
    fear, joy = GOEMOTIONS.index("fear"), GOEMOTIONS.index("joy")
    assert data.values.nonzero().tolist() == [[0, fear], [1, fear], [1, joy]]
    with pytest.raises(
        DataError, match=r"line 1: label 2 does not exist; .*0 \(joy\) to 1 \(fear\)"
    ):
        read_goemotions(write(tmp_path, "a\t2\tx\n"), own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joyy\n", "unknown label 'joyy'; did you mean 'joy'"),
        ("joy\njoy\n", "named once, got 2 names"),
        ("\n", "named once, got 0"),
    ],
)
def test_label_names_are_checked(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_label_names(write(tmp_path, text))


class HubRows(dict[str, list[object]]):
    """A stand-in for what the package `datasets` loads."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


def test_texts_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def load_dataset(*arguments: object, split: str) -> HubRows:
        asked.append((*arguments, split))
        return HubRows(rows)

    rows: dict[str, list[object]] = {"text": ["Oh no", "Hm"], "labels": [[14, 19], [27]]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    labelled, rated = find_training_texts(Path("someone/emotions"))
    assert asked == [("someone/emotions", "simplified", "train")] and rated is None
    assert labelled is not None and labelled.texts == ["Oh no", "Hm"]
    assert labelled.values.nonzero().tolist() == [[0, 14], [0, 19], [1, 27]]
    broken: tuple[tuple[str, list[object], str], ...] = (
        ("labels", [[14], [28]], "someone/emotions, row 1: label 28 does not exist"),
        ("text", ["Oh no", " "], "someone/emotions, row 1: the text is empty"),
    )
    for column, values, message in broken:
        rows[column] = values
        with pytest.raises(DataError, match=message):
            find_training_texts(Path("someone/emotions"))
    del rows["labels"]
    with pytest.raises(DataError, match=r"lacks the columns \['labels'\]; it has \['text'\]"):
        find_training_texts(Path("someone/emotions"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'erm-gym\[hub\]'"):
        find_training_texts(Path("someone/emotions"))


def test_a_folder_needs_one_of_the_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has neither goemotions_train"):
        find_training_texts(tmp_path)
    (tmp_path / "emobank_train.csv").write_text(HEADER + "a,3,3,3,b\n")
    labelled, rated = find_training_texts(tmp_path)
    assert labelled is None and rated is not None and len(rated) == 1
    with pytest.raises(DataError, match="is no folder"):
        find_training_texts(tmp_path / "emobank_train.csv")
