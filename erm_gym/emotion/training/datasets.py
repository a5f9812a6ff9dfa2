"""Labelled texts: GoEmotions and EmoBank, from files as their authors publish them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from erm_gym.emotion.training.labels import GOEMOTIONS, label_matrix
from erm_gym.llm.suggestion import suggest

RATINGS = ("V", "A", "D")
"""Columns of EmoBank: valence, arousal, dominance."""
RATING_RANGE = (1.0, 5.0)
LABELLED_FILE, RATED_FILE = "goemotions_train.tsv", "emobank_train.csv"
HUB_ID_PARTS = 2


class DataError(ValueError):
    """Labelled data is missing or malformed; the message names the file, the line and the fix."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTexts:
    """N texts and what people said about them."""

    source: str
    """Where they came from, for messages."""
    texts: list[str]
    """The texts, none empty."""
    values: Tensor
    """`[N, 28]` labels, 0 or 1, or `[N, 3]` ratings in [1, 5]; float32."""

    def __len__(self) -> int:
        """Number N of texts."""
        return len(self.texts)

    def select(self, rows: Tensor) -> LabelledTexts:
        """Some of them, `[n]` int64 numbers."""
        texts = [self.texts[row] for row in rows.tolist()]
        return LabelledTexts(source=self.source, texts=texts, values=self.values[rows])


def find_training_texts(data: Path) -> tuple[LabelledTexts | None, LabelledTexts | None]:
    """Texts with labels, and texts with ratings, each None if there are none.

    Args:
        data: A folder that has goemotions_train.tsv, emobank_train.csv or both, or, if there is no
            such folder, the hub id of a data set in the form of GoEmotions.

    Raises:
        DataError: If there is neither, or a file is malformed.
    """
    if not data.is_dir():
        if data.exists() or len(data.parts) != HUB_ID_PARTS:
            raise DataError(
                f"{data} is no folder; give the one that has {LABELLED_FILE} or {RATED_FILE}, or "
                "a hub id such as google-research-datasets/go_emotions"
            )
        return load_goemotions(data.as_posix()), None
    labelled, rated = data / LABELLED_FILE, data / RATED_FILE
    if not labelled.exists() and not rated.exists():
        raise DataError(f"{data} has neither {LABELLED_FILE} nor {RATED_FILE}")
    return (
        read_goemotions(labelled) if labelled.exists() else None,
        read_emobank(rated) if rated.exists() else None,
    )


def load_goemotions(name: str, split: str = "train") -> LabelledTexts:
    """Texts with some of 28 labels from the Hugging Face hub, values `[N, 28]`.

    Args:
        name: Hub id of a data set with the columns text and labels, the latter numbers.
        split: Part of it.

    Raises:
        DataError: If the package `datasets` is missing, or the data set cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"to load {name} from the hub, install what does: pip install 'erm-gym[hub]'"
        ) from error
    try:
        rows = datasets.load_dataset(name, "simplified", split=split)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name} is no folder, and cannot be loaded from the hub: {error}"
        ) from error
    if missing := [column for column in ("text", "labels") if column not in rows.column_names]:
        raise DataError(f"{name} lacks the columns {missing}; it has {rows.column_names}")
    texts, numbers = [], []
    for row, (text, given) in enumerate(zip(rows["text"], rows["labels"], strict=True)):
        place = f"{name}, row {row}"
        texts.append(_own_text(place, text))
        numbers.append(_known_labels(place, given, GOEMOTIONS))
    return _some(name, texts, label_matrix(numbers))


def read_label_names(path: Path) -> tuple[str, ...]:
    """Names of labels by number.

    Args:
        path: One name per line.

    Raises:
        DataError: If the file is missing, a name is none of GoEmotions', or one is there twice.
    """
    names = tuple(line.strip() for line in _read(path).splitlines() if line.strip())
    for name in names:
        if name not in GOEMOTIONS:
            raise DataError(f"{path}: unknown label {name!r}; {suggest(name, GOEMOTIONS)}")
    if len(set(names)) != len(names) or not names:
        raise DataError(f"{path}: every label must be named once, got {len(names)} names")
    return names


def read_goemotions(path: Path, names: Sequence[str] = GOEMOTIONS) -> LabelledTexts:
    """Texts with some of 28 labels, values `[N, 28]`.

    Args:
        path: Tab-separated: text, comma-separated label numbers, and an id that is not read.
        names: What the numbers stand for; each one of `GOEMOTIONS`.

    Raises:
        DataError: If the file is missing, empty, or a line is not like that.
    """
    own = [GOEMOTIONS.index(name) for name in names]
    texts, numbers = [], []
    for line, text in enumerate(_read(path).split("\n"), 1):
        if not text:
            continue
        columns = text.split("\t")
        if len(columns) < 2:
            raise DataError(
                f"{path}, line {line}: expected text, label numbers and an id, separated by tabs; "
                f"got {text[:60]!r}"
            )
        place = f"{path}, line {line}"
        texts.append(_own_text(place, columns[0]))
        given = _label_numbers(place, columns[1], names)
        numbers.append([own[number] for number in given])
    return _some(path.name, texts, label_matrix(numbers))


def read_emobank(path: Path) -> LabelledTexts:
    """Texts with valence, arousal and dominance, values `[N, 3]` in [1, 5].

    Args:
        path: CSV with the columns V, A, D and text; others are not read.

    Raises:
        DataError: If the file is missing or empty, a column is missing, or a rating is outside.
    """
    texts, ratings = [], []
    reader = csv.DictReader(io.StringIO(_read(path), newline=""))
    try:
        names = reader.fieldnames or ()
        if missing := [name for name in (*RATINGS, "text") if name not in names]:
            raise DataError(f"{path} lacks the columns {missing}; it has {list(names)}")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            texts.append(_own_text(place, row["text"]))
            ratings.append([_rating(place, row, name) for name in RATINGS])
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV, {error}") from error
    return _some(path.name, texts, torch.tensor(ratings))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; correct the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _own_text(place: str, text: str | None) -> str:
    if not text or not text.strip():
        raise DataError(f"{place}: the text is empty; delete the line")
    return text


def _label_numbers(place: str, column: str, names: Sequence[str]) -> list[int]:
    try:
        numbers = [int(each) for each in column.split(",")]
    except ValueError as error:
        raise DataError(
            f"{place}: labels are numbers separated by commas, got {column!r}"
        ) from error
    return _known_labels(place, numbers, names)


def _known_labels(place: str, numbers: list[int], names: Sequence[str]) -> list[int]:
    for number in numbers:
        if not 0 <= number < len(names):
            raise DataError(
                f"{place}: label {number} does not exist; they go from 0 "
                f"({names[0]}) to {len(names) - 1} ({names[-1]})"
            )
    return numbers


def _rating(place: str, row: dict[str, str], name: str) -> float:
    low, high = RATING_RANGE
    try:
        value = float(row[name])
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: {name} is {row[name]!r}, not a number") from error
    if not low <= value <= high:
        raise DataError(f"{place}: {name} is {value}, not within [{low}, {high}]")
    return value


def _some(source: str, texts: list[str], values: Tensor) -> LabelledTexts:
    if not texts:
        raise DataError(f"{source} has no labelled texts")
    return LabelledTexts(source=source, texts=texts, values=values)
