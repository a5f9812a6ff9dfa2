"""Files of prompts: CSV, and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from erm_gym.feedback.prompt_pool import Prompt, PromptError
from erm_gym.feedback.prompt_rows import Columns, Row, prompts_from

JSON_LINES = (".jsonl", ".ndjson")
"""How the names of files of JSON Lines end; all others are read as CSV."""
OTHERS = (".json", ".parquet", ".arrow")
"""How the names of files end that `datasets` reads."""


def read_prompt_file(path: Path, columns: Columns) -> list[Prompt]:
    """The prompts of a file, in its order.

    Args:
        path: JSON Lines if its name ends so, else CSV with a header.
        columns: Which column holds what.

    Raises:
        PromptError: If the file is missing, empty, not UTF-8 or malformed; it names the line.
    """
    if not path.is_file():
        raise PromptError(
            f"no prompts at {str(path)!r}; give 'default', a CSV file or a list, a file of JSON "
            "Lines, or 'hub:owner/name'"
        )
    if path.suffix.lower() in OTHERS:
        raise PromptError(
            f"{path} is neither CSV nor JSON Lines; give its folder as a data set: "
            f"hub:{path.parent}"
        )
    text = _text(path)
    if path.suffix.lower() in JSON_LINES:
        prompts = _from_json_lines(path, text, columns)
    else:
        prompts = _from_csv(path, text, columns)
    if not prompts:
        raise PromptError(f"{path} holds no prompt; write at least one")
    return prompts


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PromptError(f"cannot read {path}: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PromptError(
            f"{path}, line {line}: the byte 0x{data[error.start]:02x} is not UTF-8; save the file "
            "in that encoding"
        ) from error


def _from_csv(path: Path, text: str, columns: Columns) -> list[Prompt]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def lines() -> Iterator[tuple[str, list[str]]]:
        try:
            for values in reader:
                if values:
                    yield f"{path}, line {reader.line_num}", values
        except csv.Error as error:
            raise PromptError(
                f"{path}, line {reader.line_num}: {error}; look for a quotation mark that is not "
                "closed, or not doubled, before it"
            ) from error

    rest = lines()
    _, header = next(rest, ("", []))
    if double := [name for name in header if header.count(name) > 1]:
        raise PromptError(f"{path}: two columns are called {double[0]!r}; rename one")
    found = columns.found(
        str(path), header, kind="header", example=f"{path.name}?text=COLUMN&risk=COLUMN"
    )

    def rows() -> Iterator[Row]:
        for place, values in rest:
            if len(values) != len(header):
                raise PromptError(
                    f"{place}: {len(values)} values for {len(header)} columns; put a text with a "
                    "comma in quotation marks"
                )
            yield place, dict(zip(header, values, strict=True))

    return prompts_from(rows(), found)


def _from_json_lines(path: Path, text: str, columns: Columns) -> list[Prompt]:
    lines = text.split("\n")
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=0)
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            fix = "the file may have been cut off: write it anew" if number == last else "mend it"
            raise PromptError(f"{place} is no JSON ({error}); {fix}") from error
        if not isinstance(row, dict):
            raise PromptError(f'{place} must be an object such as {{"text": "Hi"}}, got {row!r}')
        rows.append((place, row))
    if not rows:
        return []
    there = {name: None for _, row in rows for name in row}
    found = columns.found(
        str(path), [*there], kind="keys", example=f"{path.name}?text=KEY&risk=KEY"
    )
    return prompts_from(rows, found, required={"text", *(columns.named or ())})
