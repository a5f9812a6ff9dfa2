"""Work of the same kind in several processes, with progress, that can be stopped between steps."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import torch

from erm_gym.evaluation.config import RunError

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[Any], None]

POLL_SECONDS = 0.1
"""How long nothing may happen before reports are looked for."""
LAST_REPORT_SECONDS = 2.0
"""How long the reports of a finished task may take longer than its result, at most."""

_reports: Queue[Any]
_stop: Event


def run_in_processes(
    work: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    *,
    jobs: int,
    progress: Report,
) -> Iterator[tuple[int, Result]]:
    """Does tasks side by side and gives their results as they come.

    Each process uses its share of the CPU cores. An interrupt reaches the tasks as a
    KeyboardInterrupt out of their next report, whether it came from the keyboard or as a signal to
    this process alone; so does the end of the loop over the results, by an error or by `break`.

    Args:
        work: A function of a module; called with a task and with what it reports progress to.
        tasks: What to do; pickled, as are the results and reports.
        jobs: Processes, >= 1.
        progress: Called here with everything that a task reports.

    Yields:
        Number of a task in the sequence, and its result.

    Raises:
        RunError: If a process died, or a task that was stopped could not save its state.
        Exception: What a task raised; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")  # CUDA and OpenMP do not survive a fork
    reports: Queue[Any] = context.Queue()
    stop = context.Event()
    processes = min(jobs, len(tasks))
    threads = max(1, usable_cores() // processes)
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start, initargs=(reports, stop, threads)
    )
    numbers: dict[Future[tuple[Result, int]], int] = {}
    pending: set[Future[tuple[Result, int]]] = set()
    received = [0] * len(tasks)

    def pass_on(number: int | None = None, sent: int = 0) -> None:
        """Passes reports on; with a number, until all that this task has sent are there."""
        until = time.monotonic() + LAST_REPORT_SECONDS
        while True:
            missing = number is not None and received[number] < sent
            try:
                source, report = reports.get(
                    timeout=max(0.0, until - time.monotonic()) if missing else 0.0
                )
            except queue.Empty:
                return
            received[source] += 1
            progress(report)

    try:
        with _interrupts_ignored():  # inherited, so that the parent alone says when to stop
            for number, task in enumerate(tasks):
                numbers[pool.submit(_work, work, number, task)] = number
        pending = set(numbers)
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            pass_on()
            for future in sorted(done, key=numbers.__getitem__):
                result, sent = future.result()
                pass_on(numbers[future], sent)
                yield numbers[future], result
    except BrokenProcessPool as error:
        raise RunError(
            "a process ended before its work did: killed, perhaps for lack of memory, or it could "
            "not start, as happens if the script that calls this has no "
            "`if __name__ == '__main__':`; see the messages above, and give the same command "
            "again, with fewer jobs, to go on from the last checkpoints"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        for future in pending:
            if future.done() and not future.cancelled():
                unsaved = future.exception()
                if isinstance(unsaved, RunError):
                    raise unsaved  # what was to be saved on the way out was not


def each_result(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int | None
) -> Iterator[tuple[int, Result]]:
    """Does tasks that report nothing, and gives their results as they come.

    Args:
        work: A function of a module; called with a task.
        tasks: What to do.
        jobs: Processes; None for as many as there are CPU cores, 1 for this process alone.

    Yields:
        Number of a task in the sequence, and its result.

    Raises:
        RunError: If a process died.
        Exception: What a task raised.
    """
    jobs = min(jobs or usable_cores(), len(tasks))
    if jobs <= 1:
        yield from ((number, work(task)) for number, task in enumerate(tasks))
        return
    silent = partial(_silent, work)
    yield from run_in_processes(silent, tasks, jobs=jobs, progress=lambda report: None)


def _silent(work: Callable[[Task], Result], task: Task, report: Report) -> Result:
    return work(task)


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so; workers then ignore them once they have started
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start(reports: Queue[Any], stop: Event, threads: int) -> None:
    global _reports, _stop  # a pool gives its tasks no other way to what their process was given
    _reports, _stop = reports, stop
    reports.cancel_join_thread()  # nobody reads the last reports of a task that is stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(work: Callable[[Task, Report], Result], number: int, task: Task) -> tuple[Result, int]:
    """Result, and how many reports were sent on the way."""
    sent = 0

    def report(what: Any) -> None:
        nonlocal sent
        _raise_if_stopped()
        _reports.put((number, what))
        sent += 1

    _raise_if_stopped()
    return work(task, report), sent


def _raise_if_stopped() -> None:
    if _stop.is_set():
        raise KeyboardInterrupt
