from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from erm_gym.evaluation import RunError
from erm_gym.evaluation.processes import run_in_processes

Report = Callable[[Any], None]


def square(number: int, report: Report) -> int:
    report((number, os.getpid()))
    return number**2


def wait_for_the_end(number: int, report: Report) -> None:
    if number == 0:
        raise RunError("the first one failed")
    for step in range(1200):
        report(step)
        time.sleep(0.05)
    raise AssertionError("was not stopped")


def die(number: int, report: Report) -> None:
    os._exit(number)


def test_results_and_reports_arrive_with_the_number_of_their_task() -> None:
    reports: list[tuple[int, int]] = []
    results = dict(run_in_processes(square, [3, 4, 5], jobs=2, progress=reports.append))
    assert results == {0: 9, 1: 16, 2: 25}
    assert sorted(number for number, _ in reports) == [3, 4, 5]
    assert os.getpid() not in {process for _, process in reports}


def count(number: int, report: Report) -> int:
    for step in range(number):
        report(step)
    return number


def test_all_reports_arrive_before_the_result() -> None:
    reports: list[int] = []
    for _, result in run_in_processes(count, [300], jobs=1, progress=reports.append):
        assert reports == list(range(result))


def test_leaving_the_loop_stops_what_is_under_way() -> None:
    began = time.monotonic()
    for number, result in run_in_processes(
        wait_or_square, [2, 60], jobs=2, progress=lambda report: None
    ):
        assert (number, result) == (0, 4)
        break
    assert time.monotonic() - began < 50


def wait_or_square(number: int, report: Report) -> int:
    if number == 60:
        wait_for_the_end(number, report)
    return number**2


def test_an_error_stops_the_others() -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match="the first one failed"):
        list(run_in_processes(wait_for_the_end, [0, 1], jobs=2, progress=lambda report: None))
    assert time.monotonic() - began < 50


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(RunError, match="fewer jobs"):
        list(run_in_processes(die, [1], jobs=1, progress=lambda report: None))
