"""What users elsewhere have in common: patience with slow and broken ones, a fallback, counts."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import tenacity

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.connection import without_key

Answer = TypeVar("Answer")

FALLBACKS = ("skip", "stop")
LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most, whatever the other side asks for."""
FAILURES_BEFORE_PAUSE = 3
"""Requests in a row that get no answer, each with all its retries, until nobody is asked for a
while."""
PAUSE = 30.0
"""Seconds for which nobody is asked then."""
PASSING = (408, 425, 429)
"""Statuses besides 5xx of errors that may be gone with the next attempt."""
AT_THE_DOOR = (401, 403, 404)
"""Statuses that do not tell whether the user is up: what stands before it may give them, too."""


class Trouble(Exception):
    """A request got no usable answer; the message says why, in words for the person at the run."""

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        again: bool = False,
        there: bool = False,
        wait: float = 0.0,
    ) -> None:
        """Describes what went wrong.

        Args:
            message: What happened.
            kind: Name of the count that it belongs to.
            again: Whether another attempt may help.
            there: Whether it shows that the other side is up.
            wait: Seconds that the other side asks to wait before it.
        """
        super().__init__(message)
        self.kind = kind
        self.again = again
        self.there = there
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a user elsewhere is waited for, and what happens if it does not answer."""

    timeout: float = 30.0
    """Seconds that one attempt may take in all, > 0."""
    retries: int = 3
    """Attempts after the first one, >= 0."""
    backoff: float = 0.5
    """Seconds before the first retry, >= 0; twice as many before each further one, and up to
    `backoff` more at random, so that many runs do not come back at the same time."""
    fallback: str = "skip"
    """`skip`: the episode gets no feedback. `stop`: a `UserError`, which ends a run; the run is
    saved."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: It names the option, its value and what is allowed.
        """
        if not 0.0 < self.timeout <= 3600.0:
            raise UserError(f"timeout must be above 0 and at most 3600 seconds, got {self.timeout}")
        if not 0 <= self.retries <= 100:
            raise UserError(f"retries must be between 0 and 100, got {self.retries}")
        if not 0.0 <= self.backoff <= LONGEST_WAIT:
            raise UserError(f"backoff must be between 0 and {LONGEST_WAIT:g}, got {self.backoff}")
        if self.fallback not in FALLBACKS:
            raise UserError(f"fallback must be 'skip' or 'stop', got {self.fallback!r}")


class NetworkUser(Askable):
    """A user that is asked over the network.

    An attempt that fails in a way that may pass is made again, with growing waits. If that does
    not help either, the fallback decides. Where several requests in a row are not answered, or only
    with 5xx or a status in `PASSING`, and the fallback is `skip`, nobody is asked for `PAUSE`
    seconds, and then once without retries: a user that is down costs little time.

    Attributes:
        name: What messages call it.
        patience: How long it is waited for.
    """

    COUNTED: ClassVar[tuple[str, ...]] = (
        "requests",
        "retries",
        "timeouts",
        "unreachable",
        "http_errors",
        "nonsense",
        "paused",
        "skipped",
    )
    """Names of what is counted: attempts sent; those after the first; those that took too long, did
    not reach the other side, were turned down, were answered with nonsense; requests that were not
    sent because of a pause; episodes without feedback in the end."""

    def __init__(self, name: str, patience: Patience, key: str = "") -> None:
        """Begins to count.

        Args:
            name: What messages call it.
            patience: How long it is waited for.
            key: Its key, if it has one; made unreadable in messages.
        """
        self.name = name
        self.patience = patience
        self._key = key
        self._counts = Counter(dict.fromkeys(self.COUNTED, 0))
        self._failures = 0
        self._paused_until = -float("inf")
        self._warned: set[str] = set()

    @property
    def is_async(self) -> bool:
        """It is awaited, together with others."""
        return True

    def counts(self) -> dict[str, int]:
        """What has happened since the user was made: see `COUNTED`."""
        return dict(self._counts)

    async def persist(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Makes attempts until one succeeds.

        Args:
            attempt: Sends one request and reads the answer; raises `Trouble` if it is not usable.

        Returns:
            What the attempt returns.

        Raises:
            Trouble: The last one, after all retries or where none would help.
        """
        doubtful = self._failures >= FAILURES_BEFORE_PAUSE and self.patience.fallback == "skip"
        if doubtful and time.monotonic() < self._paused_until:
            self._count("paused")
            raise Trouble("it did not answer several times, and is left alone", kind="paused")
        attempts = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(1 if doubtful else 1 + self.patience.retries),
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Trouble) and e.again),
            wait=self._wait,
            before_sleep=lambda state: self._count("retries"),
            reraise=True,
        )
        try:
            answer: Answer = await attempts(self._once, attempt)
        except Trouble as trouble:
            if trouble.again and not trouble.there:
                self._failures += 1
                self._paused_until = time.monotonic() + PAUSE
            raise
        return answer

    async def _once(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self.patience.timeout):
                answer = await attempt()
        except TimeoutError:
            trouble = Trouble(
                f"it gave no answer in {self.patience.timeout:g} s", kind="timeouts", again=True
            )
            self._count(trouble.kind)
            raise trouble from None
        except Trouble as trouble:
            self._count(trouble.kind)
            if trouble.there:
                self._failures = 0
            raise
        self._failures = 0
        return answer

    def _wait(self, state: tenacity.RetryCallState) -> float:
        trouble = state.outcome.exception() if state.outcome is not None else None
        asked = trouble.wait if isinstance(trouble, Trouble) else 0.0
        backoff = self.patience.backoff
        own = tenacity.wait_exponential(multiplier=backoff) + tenacity.wait_random(0, backoff)
        return min(LONGEST_WAIT, max(asked, own(state)))

    def fall_back(self, episodes: Sequence[Episode], trouble: Trouble) -> list[Feedback]:
        """What is given in place of answers.

        Args:
            episodes: Those that got none.
            trouble: Why.

        Returns:
            One feedback per episode that is not given, marked as a fallback.

        Raises:
            UserError: If the fallback is `stop`; it names the user and the first episode.
        """
        first = f"the prompt {episodes[0].prompt.text!r}"
        if self.patience.fallback == "stop":
            raise UserError(
                f"{self.name} has no feedback on {first}: {trouble}. See to it and go on; with "
                "fallback=skip such episodes get no reward instead"
            )
        self._count("skipped", len(episodes))
        if trouble.kind not in self._warned:
            self._warned.add(trouble.kind)
            warnings.warn(
                f"{self.name} has no feedback on {first}: {trouble}. The episode gets no reward; "
                f"further ones like it are only counted, under {trouble.kind!r} and 'skipped'",
                stacklevel=2,
            )
        return [Feedback(score=0.0, given=False, fallback=True) for _ in episodes]

    def _count(self, name: str, number: int = 1) -> None:
        self._counts[name] += number

    def _nonsense(self, what: object) -> Trouble:
        """An answer that is none; `what` tells why, in words of either side."""
        message = f"it answers nonsense: {without_key(str(what), self._key)}"
        return Trouble(message, kind="nonsense", again=True, there=True)


def status_trouble(status: int, said: str, retry_after: str | None) -> Trouble:
    """What an answer with a status other than 200 means.

    Args:
        status: The status.
        said: What came with it, or, for a redirect, where it leads.
        retry_after: The header of this name; dates are not understood, only seconds.
    """
    if 300 <= status < 400:
        message = f"it redirects to {said!r}, which is not followed: give that address"
        return Trouble(message, kind="http_errors", there=True)
    try:
        wait = min(LONGEST_WAIT, max(0.0, float(retry_after or 0)))
    except ValueError:
        wait = 0.0
    words = " ".join(said.split())
    short = words if len(words) <= 200 else words[:200] + " ..."
    again = status in PASSING or status >= 500
    message = f"it answered with status {status}" + (f" ({short})" if short else "")
    there = not again and status not in AT_THE_DOOR
    return Trouble(message, kind="http_errors", again=again, there=there, wait=wait)
