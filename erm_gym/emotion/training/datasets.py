"""Labelled texts: GoEmotions and EmoBank, from files as their authors publish them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from erm_gym.emotion.training.labels import GOEMOTIONS, label_matrix

RATINGS = ("V", "A", "D")
"""Columns of EmoBank: valence, arousal, dominance."""
RATING_RANGE = (1.0, 5.0)


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


def read_goemotions(path: Path) -> LabelledTexts:
    """Texts with some of 28 labels, values `[N, 28]`.

    Args:
        path: Tab-separated: text, comma-separated label numbers, and an id that is not read.

    Raises:
        DataError: If the file is missing, empty, or a line is not like that.
    """
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
        texts.append(_own_text(path, line, columns[0]))
        numbers.append(_label_numbers(path, line, columns[1]))
    return _some(path, texts, label_matrix(numbers))


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
            texts.append(_own_text(path, reader.line_num, row["text"]))
            ratings.append([_rating(path, reader.line_num, row, name) for name in RATINGS])
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV, {error}") from error
    return _some(path, texts, torch.tensor(ratings))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give the folder or file with --data") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _own_text(path: Path, line: int, text: str | None) -> str:
    if not text or not text.strip():
        raise DataError(f"{path}, line {line}: the text is empty; delete the line")
    return text


def _label_numbers(path: Path, line: int, column: str) -> list[int]:
    try:
        numbers = [int(each) for each in column.split(",")]
    except ValueError as error:
        raise DataError(
            f"{path}, line {line}: labels are numbers separated by commas, got {column!r}"
        ) from error
    for number in numbers:
        if not 0 <= number < len(GOEMOTIONS):
            raise DataError(
                f"{path}, line {line}: label {number} does not exist; they go from 0 "
                f"({GOEMOTIONS[0]}) to {len(GOEMOTIONS) - 1} ({GOEMOTIONS[-1]})"
            )
    return numbers


def _rating(path: Path, line: int, row: dict[str, str], name: str) -> float:
    low, high = RATING_RANGE
    try:
        value = float(row[name])
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, line {line}: {name} is {row[name]!r}, not a number") from error
    if not low <= value <= high:
        raise DataError(f"{path}, line {line}: {name} is {value}, not within [{low}, {high}]")
    return value


def _some(path: Path, texts: list[str], values: Tensor) -> LabelledTexts:
    if not texts:
        raise DataError(f"{path} has no labelled texts")
    return LabelledTexts(source=path.name, texts=texts, values=values)
