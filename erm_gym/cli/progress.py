"""Progress of long work: bars in a terminal, a few lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

LINES_PER_TASK = 10
"""Lines that a whole task leaves in a log."""


@dataclass
class _Work:
    """One piece of work as it was last reported."""

    description: str
    unit: str
    began: float  # seconds of the clock
    bar: TaskID | None = None
    total: int = 0
    done: int = 0
    rate: float = 0.0  # units per second
    note: str = ""
    printed: int = -1  # tenth of the work that was last printed

    @property
    def status(self) -> str:
        """Rate, time left and note, as far as there are any."""
        parts = []
        if self.rate > 0:
            parts.append(f"{self.rate:,.{0 if self.rate >= 10 else 1}f} {self.unit}/s")
            if self.done < self.total:
                left = timedelta(seconds=round((self.total - self.done) / self.rate))
                parts.append(f"{str(left).removeprefix('0:')} left")
        if self.note:
            parts.append(self.note)
        return "  ".join(parts)


class ProgressDisplay:
    """Shows how far one piece of work after another has come.

    In a terminal each has a bar of its own, and the finished ones stay. Elsewhere each leaves a
    line at its start and at every tenth of the way, so that a log stays readable.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes a display with nothing in it; use it as a context.

        Args:
            console: Where it is shown.
            clock: Seconds, from any start.
        """
        self._console = console
        self._clock = clock
        self._last_report = clock()
        self._work: dict[str, _Work] = {}
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.completed:>7,.0f}/{task.total:,.0f}", style="dim"),
                _StatusColumn(),
                console=self._console,
                expand=False,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(
        self,
        description: str,
        done: int,
        total: int,
        unit: str,
        *,
        rate: float | None = None,
        note: str = "",
    ) -> None:
        """Reports work; a new description, or fewer units done than before, begins a new piece.

        Args:
            description: What is being done; tells pieces apart.
            done: Units done, in [0, total].
            total: Units in all.
            unit: What is counted.
            rate: Units per second; by default all that is done over the time since the piece
                before it, or the display, was last heard of.
            note: What else is worth a look.
        """
        now = self._clock()
        work = self._work.get(description)
        if work is None or done < work.done:
            work = _Work(description, unit, began=self._last_report)
            if self._bars is not None:
                work.bar = self._bars.add_task(description, total=total, work=work)
            self._work[description] = work
        self._last_report = now
        seconds = now - work.began
        work.done, work.total, work.note = done, max(done, total), note
        work.rate = rate if rate is not None else done / seconds if seconds > 0 else 0.0
        if self._bars is None:
            self._print(work)
        elif work.bar is not None:
            self._bars.update(work.bar, completed=done, total=work.total)

    def _print(self, work: _Work) -> None:
        tenth = LINES_PER_TASK * work.done // max(1, work.total)
        if tenth == work.printed:
            return
        work.printed = tenth
        count = f"{work.done:,}/{work.total:,} {work.unit}".rstrip()
        line = f"{work.description}: {count}  {work.status}".rstrip()
        self._console.print(Text(line), soft_wrap=True)


class _StatusColumn(ProgressColumn):
    """Rate, time left and note."""

    def render(self, task: Task) -> Text:
        work = task.fields["work"]
        assert isinstance(work, _Work)
        return Text(work.status, style="cyan")
