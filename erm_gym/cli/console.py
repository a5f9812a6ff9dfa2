"""Consoles of the commands, and the lines that all of them print alike."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

WIDTH_OF_A_LOG = 100
"""Columns where there is no terminal to ask."""


def output_console() -> Console:
    """The console that results go to, on stdout."""
    return _console(stderr=False)


def error_console() -> Console:
    """The console that errors go to, on stderr."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_LOG
    return console


def print_error(message: str) -> None:
    """One red line on stderr; it is not broken, so that a log can be searched for it."""
    text = Text(f"erm-gym: {message}", style="bold red")
    error_console().print(text, soft_wrap=True)


def print_notice(console: Console, notice: str | None) -> None:
    """A critic's notice as one dim yellow line, if it has one."""
    if notice is not None:
        console.print(Text(notice, style="dim yellow"), soft_wrap=True)


def print_place(console: Console, what: str, place: object) -> None:
    """One line that names a file or folder; it is not broken, so that it can be copied."""
    console.print(Text.assemble((f"{what}: ", "dim"), (str(place), "bold")), soft_wrap=True)


def print_counts(console: Console, counts: Mapping[str, int]) -> None:
    """One line with what a user counted while it was asked, without what is 0, if it counts."""
    if counts:
        counted = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count
        )
        line = Text.assemble(("user: ", "dim"), counted or "nothing was asked")
        console.print(line, soft_wrap=True)


def load_libraries(console: Console) -> None:
    """Imports what takes seconds to import, with a word on why nothing else happens."""
    with console.status("Loading libraries ..."):
        importlib.import_module("erm_gym.evaluation.comparison")
