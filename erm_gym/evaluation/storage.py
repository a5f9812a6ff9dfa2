"""Files of runs: JSON that is whole or absent, and JSON Lines that survive a torn last line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.records import EpisodeRecord


def write_json(path: Path, data: Any) -> None:
    """Writes JSON under a temporary name, then renames it; missing folders are made.

    Args:
        path: The file.
        data: What `json` can write; NaN is refused.

    Raises:
        RunError: If the file cannot be written; an earlier one stays as it was.
    """
    _write(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        RunError: If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(
            f"{path} is not JSON ({error}); restore it, or use another folder"
        ) from error


def read_results(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What an earlier call kept of the same work, so that this one goes on.

    Args:
        path: A JSON file.
        asked: The settings of this call, as `json` writes them.

    Returns:
        What is there; `{"config": asked}` if nothing is.

    Raises:
        RunError: If the file is damaged, or is of other settings.
    """
    asked = json.loads(json.dumps(asked))
    if not path.exists():
        return {"config": asked}
    results = read_json(path)
    if not isinstance(results, dict) or results.get("config") != asked:
        raise RunError(f"{path} holds results of other settings; give another folder")
    return results


def write_records(path: Path, records: Iterable[EpisodeRecord]) -> None:
    """Writes records as JSON Lines, whole or not at all; missing folders are made.

    Raises:
        RunError: If the file cannot be written; an earlier one stays as it was.
    """
    _write(path, "".join(json_line(record.to_dict()) for record in records))


def read_records(path: Path) -> list[EpisodeRecord]:
    """Reads records from JSON Lines; a torn last line is left out.

    Raises:
        RunError: If the file is missing, or damaged before its last line.
    """
    return [EpisodeRecord.from_dict(values) for values in read_lines(path)]


def json_line(values: dict[str, Any]) -> str:
    """One line of JSON Lines, with its line break."""
    return json.dumps(values, allow_nan=False) + "\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads JSON Lines; what a crash left of a last line is left out.

    Raises:
        RunError: If the file is missing, or damaged before its last line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    values = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last break is torn
        try:
            values.append(json.loads(line))
        except ValueError as error:
            if number == len(lines) - 1:
                break
            raise RunError(
                f"{path}, line {number} is not JSON ({error}); delete the line"
            ) from error
    return values


def keep_lines_until(path: Path, key: str, limit: int) -> list[dict[str, Any]]:
    """Drops the lines of a file whose value is above a limit, and gives back those that stay.

    Args:
        path: A file of JSON Lines; it may be missing.
        key: The value's name; a line without it is dropped.
        limit: The largest value that stays.

    Raises:
        RunError: If the file is damaged before its last line, or cannot be written.
    """
    if not path.exists():
        return []
    kept = [line for line in read_lines(path) if line.get(key, limit + 1) <= limit]
    text = "".join(json_line(line) for line in kept)
    if path.read_bytes() != text.encode():
        _write(path, text)
    return kept


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that replaces it if all goes well.

    Raises:
        OSError: If the file cannot be written; an earlier one stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
