"""What users count while they are asked: requests, retries, skipped episodes, and so on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol, runtime_checkable


@runtime_checkable
class CountingUser(Protocol):
    """A user that counts what happens while it is asked."""

    def counts(self) -> dict[str, int]:
        """What has happened since the user was made, by name."""
        ...


def counts_of(user: object) -> dict[str, int]:
    """What a user and all users within it have counted, added up by name.

    Users that wrap others and do not count themselves are looked into: they hold one as `user`, or
    several as `users`, as all wrappers of this package do.

    Args:
        user: Any user.

    Returns:
        Counts by name; empty if none of them counts anything.
    """
    total: Counter[str] = Counter()
    for one in _within(user, set()):
        for name, count in one.counts().items():
            total[name] += count
    return dict(total)


def _within(user: object, seen: set[int]) -> Iterator[CountingUser]:
    """The users that count, each once."""
    if not callable(user) or id(user) in seen:
        return
    seen.add(id(user))
    if isinstance(user, CountingUser):
        yield user
        return
    inner = getattr(user, "users", ())
    several = inner if isinstance(inner, (list, tuple)) else ()
    for one in (getattr(user, "user", None), *several):
        yield from _within(one, seen)
