"""Work of the same kind in several processes, with progress, that can be stopped between steps."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
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
LAST_REPORT_SECONDS = 0.05
"""How long the reports of a finished task may take longer than its result."""

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
        RunError: If a process died.
        Exception: What a task raised; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")  # CUDA and OpenMP do not survive a fork
    reports: Queue[Any] = context.Queue()
    stop = context.Event()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)),
        mp_context=context,
        initializer=_start,
        initargs=(reports, stop, threads),
    )
    try:
        numbers: dict[Future[Result], int] = {
            pool.submit(_work, work, task): number for number, task in enumerate(tasks)
        }
        pending = set(numbers)
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            _pass_on(reports, progress, LAST_REPORT_SECONDS if done else 0.0)
            for future in sorted(done, key=numbers.__getitem__):
                yield numbers[future], future.result()
    except BrokenProcessPool:
        raise RunError(
            "a process ended before its work did, killed perhaps for lack of memory; give the "
            "same command again with fewer jobs to go on from the last checkpoints"
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _pass_on(reports: Queue[Any], progress: Report, patience: float) -> None:
    while True:
        try:
            report = reports.get(timeout=patience)
        except queue.Empty:
            return
        progress(report)


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


def _work(work: Callable[[Task, Report], Result], task: Task) -> Result:
    return work(task, _report)


def _report(report: Any) -> None:
    if _stop.is_set():
        raise KeyboardInterrupt
    _reports.put(report)
