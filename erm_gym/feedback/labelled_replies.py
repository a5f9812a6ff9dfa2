"""The labelled replies that come with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

STANCES = ("comply", "hedge", "refuse", "degenerate")
"""Order of the judge's probabilities.

comply: does what was asked, or says that it is fine. hedge: warns, urges caution or sends to a
professional before anything else. refuse: declines. degenerate: loops, word salad, or words that
have nothing to do with the prompt.
"""
SHORT = "replies.jsonl"
"""Mostly at most twenty tokens, as agents write them."""
LONG = "long_replies.jsonl"
"""Up to some 250 words, as chat models write them."""
STYLED = "styled, "
"""How the source of a test reply begins that imitates a chat model; the model's name follows."""


class JudgeError(ValueError):
    """A judge's weights or data are missing, damaged, or made for another language model."""


def read_labelled_replies(path: Path | None = None) -> list[dict[str, str]]:
    """Labelled replies: dictionaries with `prompt`, `reply`, `stance`, `split` and `source`.

    Args:
        path: A JSON Lines file; by default the short replies that come with the package.

    Raises:
        JudgeError: If a line cannot be read or has an unknown stance.
    """
    path = path or _data_file(SHORT)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["stance"] not in STANCES:
                raise ValueError(f"unknown stance {row['stance']!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise JudgeError(f"{path}, line {number}: {error}") from error
        rows.append(row)
    return rows


def read_all_replies() -> list[dict[str, str]]:
    """The short and the long replies that come with the package: what the judge is trained on."""
    return read_labelled_replies(_data_file(SHORT)) + read_labelled_replies(_data_file(LONG))


def _data_file(name: str) -> Path:
    return Path(str(files("erm_gym.feedback") / "data" / name))
