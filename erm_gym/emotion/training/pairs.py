"""Pairs of replies to the same prompt: which of the two becomes likelier with an emotion."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from erm_gym.emotion.signals import EMOTIONS
from erm_gym.emotion.training.datasets import DataError
from erm_gym.llm.frozen import Messages
from erm_gym.llm.suggestion import suggest

OWN_PAIRS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
"""The pairs that come with the package: curiosity and anger."""
SPLITS = ("train", "validation", "test")
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
"""Who speaks in a dialogue file, and the role of that chat message."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two replies to the same prompt."""

    emotion: str
    """The one of `EMOTIONS` that makes the chosen reply likelier."""
    prompt: Messages
    """What the user says, or the conversation so far as `{"role", "content"}` messages."""
    chosen: str
    """The reply that fits the emotion; not empty."""
    rejected: str
    """The reply that does not; not empty, and another one."""
    split: str = "train"
    """One of `SPLITS`."""

    def __post_init__(self) -> None:
        """Checks the texts.

        Raises:
            DataError: If the emotion or the split is unknown, a text is empty, or the replies are
                equal.
        """
        for name, known in (("emotion", EMOTIONS), ("split", SPLITS)):
            given = getattr(self, name)
            if given not in known:
                raise DataError(f"unknown {name} {given!r}; {suggest(given, known)}")
        texts = {"prompt": str(self.prompt), "chosen reply": self.chosen}
        for name, text in {**texts, "rejected reply": self.rejected}.items():
            if not text.strip():
                raise DataError(f"the {name} is empty; delete the pair")
        if self.chosen.strip() == self.rejected.strip():
            raise DataError("both replies are the same; delete the pair")


@dataclass(frozen=True, kw_only=True)
class PreferencePairs:
    """What a file of dialogues gives."""

    pairs: list[Pair]
    """In the order of the file."""
    left_out: dict[str, int]
    """How many dialogues are in no pair, by reason."""


def read_pairs(path: Path = OWN_PAIRS) -> list[Pair]:
    """Pairs from a JSON Lines file whose keys are the fields of `Pair`.

    Args:
        path: The file; the pairs that come with the package if left out.

    Raises:
        DataError: If the file is missing or empty, or a line is no pair.
    """
    names = [field.name for field in fields(Pair)]
    pairs = []
    for place, row in _rows(path):
        if set(row) != set(names):
            raise DataError(f"{place}: the keys must be {names}, got {list(row)}")
        try:
            pairs.append(Pair(**{name: _text(row, name) for name in names}))
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
    return pairs


def read_preference_pairs(path: Path, *, emotion: str = "fear") -> PreferencePairs:
    r"""Pairs from dialogues of which people preferred one, as hh-rlhf has them.

    A line has the keys `chosen` and `rejected`: dialogues like "\n\nHuman: ...\n\nAssistant: ...".
    The last turn of each is a reply to what both have before it.

    Args:
        path: A JSON Lines file.
        emotion: What makes the chosen reply likelier: a less harmful reply is a fearful one.

    Returns:
        The pairs, and how many dialogues were left out because their beginnings differ, a reply is
        empty, or both replies are the same.

    Raises:
        DataError: If the file is missing or empty, a line is not like that, or no pair is left.
    """
    pairs, left_out = [], Counter[str]()
    for place, row in _rows(path):
        try:
            before, chosen = _dialogue(_text(row, "chosen"))
            other, rejected = _dialogue(_text(row, "rejected"))
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        if before != other:
            left_out["beginnings differ"] += 1
        elif not chosen or not rejected:
            left_out["a reply is empty"] += 1
        elif chosen == rejected:
            left_out["replies are the same"] += 1
        else:
            pairs.append(Pair(emotion=emotion, prompt=before, chosen=chosen, rejected=rejected))
    if not pairs:
        raise DataError(f"{path} has no usable pair; left out: {dict(left_out)}")
    return PreferencePairs(pairs=pairs, left_out=dict(left_out))


def _rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Objects of a JSON Lines file, each with its place for messages."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give the path of a JSON Lines file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; save it as UTF-8") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error}); write one object per line") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected an object with the two replies, got {line[:60]!r}")
        rows.append((place, row))
    if not rows:
        raise DataError(f"{path} has no pairs")
    return rows


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a text, got {value!r}")
    return value


def _dialogue(text: str) -> tuple[list[dict[str, str]], str]:
    """Messages of a dialogue before its last turn, and the reply that this turn is."""
    start, *turns = re.split(rf"\n\n({'|'.join(SPEAKERS)}):", "\n\n" + text.lstrip())
    names, said = turns[::2], [each.strip() for each in turns[1::2]]
    if start.strip() or len(names) < 2 or names[-1] != "Assistant":
        raise DataError(
            f"a dialogue begins with 'Human:' or 'Assistant:', has two turns or more and ends with "
            f"one of the assistant; got {text.strip()[:60]!r}"
        )
    messages = [
        {"role": SPEAKERS[name], "content": content}
        for name, content in zip(names[:-1], said[:-1], strict=True)
    ]
    for number, message in enumerate(messages, 1):
        if not message["content"]:
            raise DataError(f"turn {number} of a dialogue is empty; delete the line")
    return messages, said[-1]
