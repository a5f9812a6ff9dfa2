"""Progress in a terminal and in a log."""

from __future__ import annotations

import io

from rich.console import Console

from erm_gym.cli.progress import ProgressDisplay


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_has_a_line_at_the_start_and_at_every_tenth() -> None:
    log, clock = console(terminal=False), Clock()
    with ProgressDisplay(log, clock) as display:
        for done in range(0, 2001, 10):
            clock.seconds = 100.0 + done / 10
            display.update("ppo", done, 2000, unit="tokens", note="feedback +0.50" if done else "")
    lines = written(log).splitlines()
    assert len(lines) == 11
    assert lines[0] == "ppo: 0/2,000 tokens"
    assert lines[1] == "ppo: 200/2,000 tokens  10 tokens/s  03:00 left  feedback +0.50"
    assert lines[-1] == "ppo: 2,000/2,000 tokens  10 tokens/s  feedback +0.50"


def test_work_begins_when_the_work_before_it_was_last_heard_of() -> None:
    log, clock = console(terminal=False), Clock()
    with ProgressDisplay(log, clock) as display:
        clock.seconds += 5.0
        display.update("first", 10, 10, unit="replies")
        clock.seconds += 2.0
        display.update("second", 1, 4, unit="replies")
    first, second = written(log).splitlines()
    assert first == "first: 10/10 replies  2.0 replies/s"
    assert second == "second: 1/4 replies  0.5 replies/s  00:06 left"


def test_a_given_rate_is_believed() -> None:
    log = console(terminal=False)
    with ProgressDisplay(log, Clock()) as display:
        display.update("resumed", 90_000, 100_000, unit="tokens", rate=1.0)
    assert written(log) == "resumed: 90,000/100,000 tokens  1.0 tokens/s  2:46:40 left\n"


def test_a_total_that_was_too_small_grows() -> None:
    log = console(terminal=False)
    with ProgressDisplay(log, Clock()) as display:
        for done in (100, 110, 120):
            display.update("ppo", done, 100, unit="tokens")
    assert written(log) == "ppo: 100/100 tokens\n"


def test_a_terminal_has_a_bar_for_each() -> None:
    terminal, clock = console(terminal=True), Clock()
    with ProgressDisplay(terminal, clock) as display:
        for name in ("one", "two"):
            for done in (0, 320, 640):
                clock.seconds += 1.0
                display.update(name, done, 640, unit="tokens", rate=320.0, note="feedback -0.25")
    last = written(terminal).rsplit("one", 1)[1]
    assert last.count("━" * 20) == 2
    assert last.count("640/640") == 2
    assert last.count("320 tokens/s  feedback -0.25") == 2
    assert "two" in last


def test_fewer_units_than_before_are_a_new_piece_of_the_same_work() -> None:
    log, clock = console(terminal=False), Clock()
    with ProgressDisplay(log, clock) as display:
        for done in (5, 10, 4):
            clock.seconds += 5.0
            display.update("reading", done, 10, "replies")
    assert written(log).splitlines()[-1] == "reading: 4/10 replies  0.8 replies/s  00:08 left"
