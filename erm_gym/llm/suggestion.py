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
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {names}"
