"""What to say to somebody who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another one, as a question; all of them if none is.

    >>> suggest("emotinal-ppo", ["ppo", "emotional-ppo"])
    "did you mean 'emotional-ppo'?"
    >>> suggest("zzz", ["ppo", "emotional-ppo"])
    "there are ['ppo', 'emotional-ppo']"
    """
    names = list(known)
    close = nearest(name, names)
    return f"did you mean {close!r}?" if close else f"there are {names}"


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
    """The known name that is most like another one; None if none is like it.

    Args:
        name: What was written.
        known: What could have been meant.
        likeness: How like it must be, in [0, 1]; 1 is the same.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)), None)
