"""What every command has: its flags as fields, a run, and a result that `--json` writes down."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from erm_gym.evaluation import RunError, RunOptions

Config = TypeVar("Config", bound=RunOptions)


@dataclass(frozen=True)
class Outcome:
    """How a command went."""

    result: dict[str, Any]
    """What it found, in values that JSON has."""
    exit_code: int = 0
    """0 unless what it looked at is not as it should be."""


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """A command; its fields are its flags, their docstrings the help."""

    json: Path | None = None
    """Also write the result to this JSON file."""

    def config_of(self, kind: type[Config]) -> Config:
        """The flags that are fields of a configuration, as that configuration, now checked.

        A command that takes a configuration's fields as flags inherits from it and leaves its
        checks out until here: an error is then told like all others, and `--help` loads nothing.

        Args:
            kind: The configuration, a dataclass.

        Raises:
            ValueError: What the configuration raises.
        """
        return kind(**{item.name: getattr(self, item.name) for item in fields(kind)})

    @abstractmethod
    def run(self, console: Console) -> Outcome:
        """Does the work and shows it.

        Args:
            console: Where results are shown.
        """


def check_writable(path: Path) -> None:
    """Raises before the work, and not after it, if a file cannot be written.

    Args:
        path: The file; its folder is created.

    Raises:
        RunError: If the folder cannot be made or written to, or the path is a folder.
    """
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error
