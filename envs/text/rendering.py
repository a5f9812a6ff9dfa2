"""A transcript as text or picture, every token coloured by the fear felt when it was chosen."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym.emotion.fear_colours import (
    LEGEND_TITLE,
    LEVELS,
    coloured_tokens,
    fear_level,
    legend,
    visible,
)

SPEAKERS = ("user", "assistant")

MIN_COLUMNS = 20
"""Narrowest text, in columns: the longest speaker's name, and some of what is said beside it."""
MIN_WIDTH, MIN_HEIGHT = 480, 80
"""Smallest picture, in pixels: the legend in one row, and one row of text above it."""

MARGIN = 14
"""Pixels around everything."""
TEXT_LEFT = 104
"""Pixels left of what is said: the margin and the speakers' names."""
ROW_HEIGHT = 23
"""Pixels from one row of text to the next."""
TOKEN_HEIGHT = 21
"""Pixels of a token's background, at the top of its row."""
BASELINE = 16
"""Pixels from the top of a row to the line that letters stand on."""
GAP = 9
"""Pixels between two utterances, besides the rows."""
LEGEND_HEIGHT = 34
"""Pixels at the bottom that the legend takes with the line above it, without the margin."""
TEXT_SIZE, LEGEND_SIZE = 15, 12
"""Font sizes in pixels."""

PAPER, INK = "white", "black"
FAINT, LINE = "#5f5f5f", "#d0d0d0"


@dataclass(frozen=True)
class Line:
    """One utterance of a transcript."""

    speaker: str
    """`user` or `assistant`."""
    tokens: tuple[str, ...]
    """What was said, in T pieces; what a user says may be one."""
    fear: tuple[float | None, ...] = ()
    """Fear in [0, 1] when each of the T tokens was chosen, None where nobody felt; or nothing."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: If nobody is called so, or the numbers of tokens and fears differ.
        """
        if self.speaker not in SPEAKERS:
            raise ValueError(f"speaker must be one of {', '.join(SPEAKERS)}, got {self.speaker!r}")
        if len(self.fear) not in {0, len(self.tokens)}:
            raise ValueError(
                f"fear must be one value per token or empty, got {len(self.fear)} values for "
                f"{len(self.tokens)} tokens"
            )


def to_ansi(lines: Sequence[Line], *, width: int = 80) -> str:
    """A transcript as text for a terminal, with ANSI codes for 24-bit colours.

    Args:
        lines: The utterances, in their order.
        width: Columns of a terminal, at least 20.

    Returns:
        Rows of at most `width` columns; the last explains the colours, if any fear is known.
        Nothing but the arguments decides, neither the terminal nor `NO_COLOR`.

    Raises:
        ValueError: If the width is too small.
    """
    if width < MIN_COLUMNS:
        raise ValueError(f"width must be at least {MIN_COLUMNS} columns, got {width}")
    if not lines:
        return ""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        force_jupyter=False,
        color_system="truecolor",
        no_color=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(to_table(lines))
        if _is_fear_known(lines):
            console.print(legend())
    return capture.get().removesuffix("\n")


def to_table(lines: Sequence[Line]) -> Table:
    """A transcript for a console of rich: who speaks, and what is said."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for line in lines:
        table.add_row(Text(line.speaker), coloured_tokens(line.tokens, line.fear))
    return table


def to_rgb(lines: Sequence[Line], *, width: int = 640, height: int = 400) -> np.ndarray:
    """A transcript as a picture, with a legend at the bottom if any fear is known.

    Where there is no room for all of it the end is shown, so that a running episode scrolls. The
    font is DejaVu Sans: letters that it lacks become boxes, and text is laid out from left to right
    whatever its script.

    Args:
        lines: The utterances, in their order.
        width: Pixels, at least 480.
        height: Pixels, at least 80.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        ValueError: If the picture would be too small.
    """
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise ValueError(
            f"a picture must be at least {MIN_WIDTH} x {MIN_HEIGHT} pixels, got {width} x {height}"
        )
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    room = height - 2 * MARGIN
    if _is_fear_known(lines):
        _draw_legend(draw, width, height)
        room -= LEGEND_HEIGHT
    top = MARGIN
    for index, row in enumerate(_last_rows(lines, width - TEXT_LEFT - MARGIN, room)):
        if row.begins and index:
            top += GAP
        if row.begins or not index:
            name = (MARGIN, top + BASELINE)
            draw.text(name, row.speaker, FAINT, _font("DejaVuSans-Bold", TEXT_SIZE - 2), "ls")
        _draw_row(draw, row.pieces, top)
        top += ROW_HEIGHT
    return np.array(image)


class _Piece(NamedTuple):
    """A word or a part of one, all from the same token; a space is at its beginning only."""

    text: str
    fear: float | None


class _Row(NamedTuple):
    """A row of the picture."""

    speaker: str
    begins: bool  # whether it is the first of an utterance
    pieces: list[_Piece]


def _is_fear_known(lines: Sequence[Line]) -> bool:
    return any(fear is not None for line in lines for fear in line.fear)


def _last_rows(lines: Sequence[Line], width: int, height: int) -> Sequence[_Row]:
    """As many rows of the end as fit, in pixels."""
    shown: deque[_Row] = deque()
    for line in reversed(lines):
        rows = _wrapped(line, width)
        for index in reversed(range(len(rows))):
            height -= ROW_HEIGHT + (GAP if shown and shown[0].begins else 0)
            if height < 0:
                return shown
            shown.appendleft(_Row(line.speaker, index == 0, rows[index]))
    return shown


def _wrapped(line: Line, width: int) -> list[list[_Piece]]:
    """Rows of at most so many pixels, broken between words; a word longer than a row is cut."""
    rows: list[list[_Piece]] = [[]]
    room = width
    for word in _words(line):
        if rows[-1] and sum(_width(piece.text) for piece in word) > room:
            rows.append([])
            room = width
        for text, fear in word:
            rest = text if rows[-1] else text.lstrip(" ")
            while (fits := _fitting(rest, room)) < len(rest):
                if fits:
                    rows[-1].append(_Piece(rest[:fits], fear))
                rest = rest[fits:]
                rows.append([])
                room = width
            if rest:
                rows[-1].append(_Piece(rest, fear))
                room -= _width(rest)
    return rows


def _fitting(text: str, room: int) -> int:
    """How many characters of a text fit into so many pixels; it reads no more than these."""
    return bisect_right(list(accumulate(map(_width, text[: room + 1]))), room)


def _words(line: Line) -> Iterator[list[_Piece]]:
    """What must not be torn apart: a word begins where a space does."""
    word: list[_Piece] = []
    fears = line.fear or (None,) * len(line.tokens)
    for token, fear in zip(line.tokens, fears, strict=True):
        for text in re.findall(r" *[^ ]+| +", visible(token)):
            if text.startswith(" ") and word:
                yield word
                word = []
            word.append(_Piece(text, fear))
    if word:
        yield word


def _draw_row(draw: ImageDraw.ImageDraw, pieces: Sequence[_Piece], top: int) -> None:
    """Draws backgrounds, and on them the letters: in runs of one colour, which is faster."""
    right = TEXT_LEFT
    runs: list[tuple[int, str, str]] = []  # left end, colour, text
    for text, fear in pieces:
        left, right = right, right + _width(text)
        background, ink = None, INK
        if fear is not None:
            background, ink = fear_level(fear).background, fear_level(fear).foreground
        if background is not None and right > left:
            box = (left, top, right - 1, top + TOKEN_HEIGHT - 1)  # the last pixels are inside
            draw.rectangle(box, background)
        if runs and runs[-1][1] == ink:
            runs[-1] = (runs[-1][0], ink, runs[-1][2] + text)
        else:
            runs.append((left, ink, text))
    for left, ink, text in runs:
        draw.text((left, top + BASELINE), text, ink, _font("DejaVuSans", TEXT_SIZE), "ls")


def _draw_legend(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    font = _font("DejaVuSans", LEGEND_SIZE)
    bottom = height - MARGIN
    top = bottom - 20
    draw.line((MARGIN, top - 9, width - MARGIN - 1, top - 9), LINE)
    draw.text((MARGIN, top + 14), LEGEND_TITLE, FAINT, font, "ls")
    left = MARGIN + round(font.getlength(LEGEND_TITLE)) + 8
    for level in LEVELS:
        right = left + round(font.getlength(level.name)) + 12
        box = (left, top, right - 1, bottom - 1)
        draw.rectangle(box, level.background or PAPER, level.background or LINE)
        draw.text((left + 6, top + 14), level.name, level.foreground, font, "ls")
        left = right + 4


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of those that matplotlib brings along: Pillow's own has no umlauts.

    The basic layout draws the same picture whether or not Pillow finds libraqm.
    """
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=10_000)
def _width(text: str) -> int:
    """Pixels that a text takes in a row."""
    return round(_font("DejaVuSans", TEXT_SIZE).getlength(text))
