"""Asking users that answer at once and users that are awaited, in the same way."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback

Answer = TypeVar("Answer")


class Askable(ABC):
    """A user that may have users inside, some of which may be awaited.

    Attributes:
        name: What messages call it.
    """

    name: str

    @property
    @abstractmethod
    def is_async(self) -> bool:
        """Whether a user in it is awaited."""

    @property
    def converses(self) -> bool:
        """Whether it says what it has to say in a conversation, and leaves when it wants to."""
        return False

    @property
    def draws(self) -> bool:
        """Whether answers depend on `Episode.seed` or `rng`, so that none may be given again."""
        return False

    @property
    def settles(self) -> bool:
        """Whether it keeps feedback back until the last turn of a conversation."""
        return False

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """What of it does nothing where an episode is a single reply, such as `delay(2)`."""
        return ()

    @abstractmethod
    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback for a batch, as `User` gives it."""

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback for a batch, from a program that awaits nothing; see `User`."""
        return finish(self.answer(episodes, rng), waits=self.is_async)


def is_awaited(function: object) -> bool:
    """Whether calling something gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 (its kind is asked, not for it)
    )


async def together(coroutines: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Awaits coroutines side by side; the first error ends them all, and is raised."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def finish(coroutine: Coroutine[Any, Any, Answer], *, waits: bool) -> Answer:
    """The result of a coroutine, also where an event loop is running already, as in Jupyter.

    Loops live as long as their thread, so that the connections that an asynchronous client keeps
    open still work with the next batch.

    Args:
        coroutine: What to run.
        waits: Whether it waits for anything; if it does not, no loop is needed.
    """
    if not waits:
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: Answer = end.value
            return result
        raise RuntimeError("a user that is not asynchronous waited for something")
    local = _local_loop()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return local.run(coroutine)
    return local.run_beside(coroutine)


class _Loop:
    """The event loop of one thread in one process, and a thread beside it for a loop of its own."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._runner = asyncio.Runner()
        self._beside: ThreadPoolExecutor | None = None

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(coroutine, context=contextvars.copy_context())

    def run_beside(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """Runs in the thread beside; a coroutine in there that does so again has its own."""
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, thread_name_prefix="erm-gym-users")
        context = contextvars.copy_context()
        return self._beside.submit(context.run, lambda: finish(coroutine, waits=True)).result()

    def close(self) -> None:
        if self.process == os.getpid():
            self._runner.close()


_loops = threading.local()


def _local_loop() -> _Loop:
    loop: _Loop | None = getattr(_loops, "loop", None)
    if loop is None or loop.process != os.getpid():  # a forked process must not use its parent's
        loop = _loops.loop = _Loop()
        atexit.register(loop.close)
    return loop
