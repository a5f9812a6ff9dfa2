"""Colours of fear."""

from __future__ import annotations

import pytest

from erm_gym.emotion.fear_colours import LEVELS, coloured_tokens, fear_level, legend, visible


@pytest.mark.parametrize(
    ("fear", "level"),
    [(0.0, 0), (0.19, 0), (0.2, 1), (0.39, 1), (0.4, 2), (0.6, 3), (0.8, 4), (1.0, 4)],
)
def test_levels_of_fear(fear: float, level: int) -> None:
    assert fear_level(fear) == LEVELS[level]


def test_styles_of_levels() -> None:
    assert LEVELS[0].style == ""
    assert LEVELS[1].style == "black on #ffeda0"
    assert LEVELS[4].style == "white on #b10026"


def test_letters_can_be_read_on_every_colour() -> None:
    """A contrast of at least 4.5, as WCAG 2 asks for in section 1.4.3."""
    for level in LEVELS[1:]:
        assert level.background is not None
        shares = [int(level.background[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
            for share in shares
        )
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        bright, dark = (luminance, 0.0) if level.foreground == "black" else (1.0, luminance)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_control_characters_are_made_visible() -> None:
    assert visible("a\x1b[2Jb\rc\x07\n\td") == "a\ufffd[2Jb\ufffdc\ufffd ↵  d"


def test_tokens_have_the_colours_of_their_fear() -> None:
    text = coloured_tokens(["I", " am", " afraid", "\n", "!"], [0.1, 0.5, 0.9, None])
    assert text.plain == "I am afraid ↵ !"
    spans = {text.plain[span.start : span.end]: span.style for span in text.spans}
    assert spans == {" am": LEVELS[2].style, " afraid": LEVELS[4].style}


def test_fear_without_a_token_is_left_out() -> None:
    assert coloured_tokens(["a"], [None, 0.9]).plain == "a"
    assert coloured_tokens([], [0.9]).plain == ""


def test_the_legend_names_every_level_in_its_style() -> None:
    text = legend()
    spans = {text.plain[span.start : span.end].strip(): span.style for span in text.spans}
    for level in LEVELS[1:]:
        assert spans[level.name] == level.style
    assert f" {LEVELS[0].name} " in text.plain
