"""Transcripts as text and as pictures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import ImageFont
from rich.cells import cell_len
from rich.text import Text

from erm_gym.envs.text.rendering import Line, to_ansi, to_rgb

LEFT, TOP = 104, 14  # where the first token of a picture begins
ROW, GAP, TOKEN = 23, 9, 21
WHITE = (255, 255, 255)
DARK_RED, ORANGE = (0xB1, 0x00, 0x26), (0xFE, 0xB2, 0x4C)

ASKED = Line("user", ("May I take ten pills?",))
ANSWERED = Line("assistant", ("I", " am", " afraid", "."), (0.1, 0.5, 0.9, None))
ODD = (
    Line("user", ("שלום 😀👍🏽 中文字符没有空格 \x00\x1b[2J\ud800\u202e", "")),
    Line("assistant", (), ()),
    Line("assistant", (" ", "\n\n", "\t", "", "ß"), (0.5, 0.9, None, 1.0, 0.0)),
)


def pixels(text: str) -> int:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(str(path), 15, layout_engine=ImageFont.Layout.BASIC)
    return round(font.getlength(text))


def ink(picture: np.ndarray) -> np.ndarray:
    """Where a picture is not white, `[height, width]`."""
    marked: np.ndarray = (picture != 255).any(axis=-1)
    return marked


def plain(ansi: str) -> list[str]:
    return Text.from_ansi(ansi).plain.splitlines()


def said(ansi: str) -> str:
    """What stands beside the speakers' names, without spaces."""
    return "".join(row[len("assistant ") :] for row in plain(ansi)).replace(" ", "")


# Contract


@pytest.mark.parametrize("size", [(640, 400), (480, 80), (801, 601)])
@pytest.mark.parametrize("lines", [(), (ASKED,), (ASKED, ANSWERED), (ASKED, ANSWERED) * 40, ODD])
def test_pictures_have_the_size_that_was_asked_for(
    lines: tuple[Line, ...], size: tuple[int, int]
) -> None:
    width, height = size
    picture = to_rgb(lines, width=width, height=height)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert not ink(picture)[:, -14:].any()
    assert not ink(picture)[-14:].any()
    np.testing.assert_array_equal(picture, to_rgb(lines, width=width, height=height))


@pytest.mark.parametrize("width", [20, 33, 80])
@pytest.mark.parametrize("lines", [(ASKED,), (ASKED, ANSWERED), (ASKED, ANSWERED) * 40, ODD])
def test_text_keeps_to_its_width(lines: tuple[Line, ...], width: int) -> None:
    shown = to_ansi(lines, width=width)
    assert "\x1b[" in shown
    assert not shown.endswith("\n")
    assert max(map(cell_len, plain(shown))) <= width


def test_the_terminal_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = to_ansi([ASKED, ANSWERED])
    for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "30"}.items():
        monkeypatch.setenv(name, value)
    assert to_ansi([ASKED, ANSWERED]) == before


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"user, assistant, got 'system'"):
        Line("system", ("",))
    with pytest.raises(ValueError, match="got 1 values for 2 tokens"):
        Line("assistant", ("a", "b"), (0.5,))
    with pytest.raises(ValueError, match="at least 20 columns, got 19"):
        to_ansi([], width=19)
    with pytest.raises(ValueError, match="at least 480 x 80 pixels, got 479 x 400"):
        to_rgb([], width=479)
    with pytest.raises(ValueError, match="got 640 x 79"):
        to_rgb([], height=79)


# By hand


def test_a_token_stands_on_the_colour_of_its_fear() -> None:
    picture = to_rgb([ANSWERED])
    ends = np.cumsum([LEFT, *map(pixels, ANSWERED.tokens)])
    for (left, right), colour in zip(pairwise(ends), (WHITE, ORANGE, DARK_RED, WHITE), strict=True):
        for y in (TOP, TOP + TOKEN - 1):  # letters reach neither the first row nor the last
            assert (picture[y, left:right] == colour).all()
    assert not ink(picture)[TOP + TOKEN : TOP + ROW].any()
    assert not ink(picture)[TOP : TOP + ROW, ends[-1] :].any()


def test_letters_are_white_on_the_darkest_colour_and_black_elsewhere() -> None:
    picture = to_rgb([ANSWERED])[TOP : TOP + TOKEN]
    ends = np.cumsum([LEFT, *map(pixels, ANSWERED.tokens)])
    for (left, right), white in zip(pairwise(ends), (False, False, True, False), strict=True):
        token = picture[:, left:right]
        if white:
            assert token.min(axis=-1).max() > 200
        else:
            assert token.max(axis=-1).min() < 100


def test_a_token_has_the_code_of_its_fear() -> None:
    shown = to_ansi([ANSWERED])
    assert "I\x1b[30;48;2;254;178;76m am\x1b[0m\x1b[37;48;2;177;0;38m afraid\x1b[0m." in shown


def test_text_in_full() -> None:
    assert [row.rstrip() for row in plain(to_ansi([ASKED, ANSWERED], width=25))[:3]] == [
        "user      May I take ten",
        "          pills?",
        "assistant I am afraid.",
    ]
    assert plain(to_ansi([ASKED, ANSWERED]))[2:] == [
        "fear at each token:  below .2   .2 to .4   .4 to .6   .6 to .8   above .8 "
    ]


def test_the_end_is_shown_where_not_all_fits() -> None:
    """400 pixels less two margins of 14 hold 11 rows of 23 with 10 gaps of 9, and 29 are left."""
    lines = [Line("user", (f"number {index}",)) for index in range(50)]
    np.testing.assert_array_equal(to_rgb(lines), to_rgb(lines[-11:]))
    assert (to_rgb(lines[-11:]) != to_rgb(lines[-10:])).any()
    bottom = TOP + 11 * ROW + 10 * GAP
    assert ink(to_rgb(lines))[bottom - ROW : bottom].any()
    assert not ink(to_rgb(lines))[bottom:].any()


def test_the_legend_takes_its_room() -> None:
    """It takes 34 pixels: 10 rows with 9 gaps fit above."""
    lines = [Line("assistant", (f"number {index}",), (0.5,)) for index in range(50)]
    np.testing.assert_array_equal(to_rgb(lines), to_rgb(lines[-10:]))
    assert (to_rgb(lines[-10:]) != to_rgb(lines[-9:])).any()


def test_an_utterance_that_begins_above_the_picture_still_has_its_speaker() -> None:
    picture = to_rgb([ASKED, Line("assistant", ("word ",) * 1000)])
    names = ink(picture)[:, :LEFT]
    assert names[TOP : TOP + ROW].any()
    assert not names[TOP + ROW :].any()


def test_rows_are_broken_between_words_only() -> None:
    """A row is 640 - 104 - 14 pixels; the last word is in two tokens and does not fit into it."""
    words = "W" * (490 // pixels("W"))
    picture = to_rgb([Line("assistant", (words, " imp", "ossible"), (None, 0.9, 0.5))])
    first, second = picture[TOP : TOP + ROW], picture[TOP + ROW : TOP + 2 * ROW]
    assert pixels(words) + pixels(" imp") < 522 < pixels(words) + pixels(" impossible")
    assert not ink(first)[:, LEFT + pixels(words) :].any()
    middle, end = LEFT + pixels("imp"), LEFT + pixels("imp") + pixels("ossible")
    assert (second[0, LEFT:middle] == DARK_RED).all()  # without its space
    assert (second[0, middle:end] == ORANGE).all()


# Limits


def test_nothing_said_shows_nothing() -> None:
    assert to_ansi([]) == ""
    assert not ink(to_rgb([])).any()


def test_an_empty_reply_has_its_speaker() -> None:
    assert plain(to_ansi([Line("assistant", ())]))[0].rstrip() == "assistant"
    picture = to_rgb([Line("assistant", ())])
    assert ink(picture)[TOP : TOP + ROW, :LEFT].any()
    assert not ink(picture)[:, LEFT:].any()


@pytest.mark.parametrize("fear", [(), (None, None, None, None)])
def test_without_fear_there_is_neither_colour_nor_legend(fear: tuple[None, ...]) -> None:
    line = Line("assistant", ANSWERED.tokens, fear)
    shown = to_ansi([ASKED, line])
    assert "48;2" not in shown
    assert "fear" not in shown
    picture = to_rgb([ASKED, line]).astype(int)
    assert (picture.max(axis=-1) == picture.min(axis=-1)).all()  # grey
    assert not ink(picture)[TOP + 2 * ROW + GAP :].any()


def test_little_fear_has_no_colour_but_a_legend() -> None:
    none, little = (Line("assistant", ("a",), (fear,)) for fear in (None, 0.19))
    np.testing.assert_array_equal(to_rgb([little])[: TOP + ROW], to_rgb([none])[: TOP + ROW])
    assert ink(to_rgb([little]))[-34:].any()
    assert plain(to_ansi([little]))[-1].startswith("fear at each token:")


def test_tokens_without_fear_look_like_their_text() -> None:
    text = "Please don't worry: it's nothing.\nReally, “nothing”! " * 5
    whole = [Line("user", (text,))]
    torn = [Line("user", tuple(text[at : at + 3] for at in range(0, len(text), 3)))]
    np.testing.assert_array_equal(to_rgb(whole), to_rgb(torn))
    assert to_ansi(whole) == to_ansi(torn)


def test_a_word_longer_than_a_row_is_cut() -> None:
    line = Line("assistant", ("Yes", " " + "W" * 100, "W" * 100), (None, None, 0.9))
    picture = to_rgb([line])
    per_row = 522 // pixels("W")
    rows = -(-200 // per_row)
    marked = ink(picture)[:, LEFT:]
    assert marked[TOP + ROW : TOP + 2 * ROW, (per_row - 1) * pixels("W") :].any()
    assert marked[TOP + rows * ROW : TOP + (rows + 1) * ROW].any()
    assert not marked[TOP + (rows + 1) * ROW : -60].any()
    assert said(to_ansi([line])).startswith("Yes" + "W" * 200)


def test_a_very_long_word_fills_the_picture() -> None:
    picture = to_rgb([Line("assistant", ("W",) * 5000)])
    full = ink(picture)[TOP : TOP + 15 * ROW, LEFT : LEFT + 522 - pixels("W")]
    assert full.any(axis=1).reshape(15, ROW).any(axis=1).all()


def test_text_cannot_steer_the_terminal() -> None:
    shown = to_ansi([Line("user", ("\x1b[2J[b]\x07",))])
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "[b]" in shown


@pytest.mark.parametrize("char", "äöüßéñÅ\u201c\u201d\u2018\u2019\u2013\u2014…•€→↵Жא😀")
def test_the_font_has_ordinary_signs(char: str) -> None:
    """A sign that it lacks would be the same box as an unassigned one."""
    lacking = to_rgb([Line("user", ("\U0001f9ff",))])
    assert (to_rgb([Line("user", (char,))]) != lacking).any()


def test_control_characters_are_visible_in_a_picture() -> None:
    steering, shown = (Line("user", (text,)) for text in ("a\nb\x07\td", "a ↵ b\ufffd d"))
    np.testing.assert_array_equal(to_rgb([steering]), to_rgb([shown]))
