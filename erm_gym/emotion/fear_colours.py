"""Colours of fear, and tokens in the colour of the fear felt when they were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.text import Text


@dataclass(frozen=True, kw_only=True)
class FearLevel:
    """A range of fear that is shown in one colour."""

    upper: float
    """Its end, exclusive, in (0, 1]; it begins where the level before ends."""
    name: str
    """What a legend calls it."""
    background: str | None = None
    """Colour behind a token, `#rrggbb`; None leaves what is there."""
    foreground: str = "black"
    """Colour of letters that can be read on the background."""

    @property
    def style(self) -> str:
        """The level as a style of rich; empty without a background."""
        return "" if self.background is None else f"{self.foreground} on {self.background}"


LEVELS = (
    FearLevel(upper=0.2, name="below .2"),
    FearLevel(upper=0.4, name=".2 to .4", background="#ffeda0"),
    FearLevel(upper=0.6, name=".4 to .6", background="#feb24c"),
    FearLevel(upper=0.8, name=".6 to .8", background="#fc6b32"),
    FearLevel(upper=1.0, name="above .8", background="#b10026", foreground="white"),
)
"""From little to much fear: darker is more, for any eyes."""

LEGEND_TITLE = "fear at each token:"


def fear_level(fear: float) -> FearLevel:
    """The level of a fear in [0, 1]."""
    return next((level for level in LEVELS if fear < level.upper), LEVELS[-1])


def visible(text: str) -> str:
    """Text with its control characters made visible, so that a reply cannot steer the terminal."""
    shown = text.replace("\r\n", "\n").replace("\n", " ↵ ").replace("\t", " ")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


def coloured_tokens(tokens: Sequence[str], fear: Sequence[float | None]) -> Text:
    """One line of tokens, every one in the colour of its fear.

    Args:
        tokens: T pieces of text.
        fear: At most T values in [0, 1]; a token with None or beyond the last one stays plain.
    """
    text = Text()
    for token, felt in zip_longest(tokens, fear[: len(tokens)]):
        text.append(visible(token), style="" if felt is None else fear_level(felt).style)
    return text


def legend() -> Text:
    """What the colours mean."""
    text = Text.assemble((LEGEND_TITLE, "dim"))
    for level in LEVELS:
        text.append(" ")
        text.append(f" {level.name} ", style=level.style)
    return text
