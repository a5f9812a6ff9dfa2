"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""Called with what is being done, how much of it is done, how much there is, and its unit."""


def no_progress(work: str, done: int, total: int, unit: str) -> None:
    """Tells nobody."""
