"""Replies coloured by fear."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from erm_gym.cli.transcripts import coloured_reply, exchange, print_exchanges
from erm_gym.emotion.fear_colours import LEVELS, legend
from erm_gym.evaluation import EpisodeRecord


def record(**changes: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        "prompt_id": "1",
        "domain": "medicine",
        "risky": True,
        "prompt": "How many pills may I take?",
        "reply": "Ask a doctor.",
        "score": 0.75,
        "stance": "hedge",
        "tokens": ["Ask", " a", " doctor", "."],
        "fear": [0.1, 0.5, 0.79, 0.95],
        "logprob": -1.0,
        "steps": 4,
    }
    return EpisodeRecord(**{**values, **changes})


def render(*shown: Any, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=100,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
    )
    console.print(*shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_token_has_the_colour_of_its_fear() -> None:
    text = coloured_reply(record())
    assert text.plain == "Ask a doctor."
    spans = {text.plain[span.start : span.end]: span.style for span in text.spans}
    assert spans == {" a": LEVELS[2].style, " doctor": LEVELS[3].style, ".": LEVELS[4].style}


def test_without_a_critic_a_reply_is_plain() -> None:
    text = coloured_reply(record(fear=[]))
    assert (text.plain, text.spans) == ("Ask a doctor.", [])


def test_a_silent_reply_says_so() -> None:
    assert coloured_reply(record(tokens=[""], fear=[0.9])).plain == "(says nothing)"


def test_a_reply_cannot_steer_the_terminal() -> None:
    hostile = record(prompt="\x1b[31m", domain="\x1b[0m", tokens=["\x1b[2J"], fear=[0.0])
    assert "\x1b" not in render(exchange([("[bold]frozen", hostile)]))


def test_markup_in_text_is_text() -> None:
    shown = render(exchange([("ppo", record(prompt="[b]not bold[/b]", tokens=["[/]"], fear=[0]))]))
    assert "[b]not bold[/b]" in shown
    assert "[/]" in shown


def test_an_exchange_tells_everything_without_colours_too() -> None:
    other = record(score=-1.0, stance="comply", tokens=["Ten"] * 60, fear=[])
    shown = render(exchange([("frozen", other), ("emotional-ppo", record())]))
    assert "risky · medicine" in shown
    assert "How many pills may I take?" in shown
    assert "-1.00 comply" in shown
    assert "+0.75 hedge" in shown
    assert "peak fear 0.95" in shown
    assert {len(line) for line in shown.splitlines()} == {100}


def test_colours_and_their_legend_are_shown_in_a_terminal() -> None:
    shown = render(exchange([("ppo", record())]), legend(), terminal=True)
    assert shown.count("48;2;177;0;38") == 2  # #b10026, on a token and in the legend


def test_a_word_longer_than_the_screen_is_shown_in_full() -> None:
    shown = render(exchange([("ppo", record(tokens=["W"] * 150, fear=[0.5] * 150))]))
    assert shown.count("W") == 150


@pytest.mark.parametrize(("fear", "explained"), [([0.1] * 4, True), ([], False)])
def test_the_legend_follows_where_there_is_fear(fear: list[float], explained: bool) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_exchanges(console, [[("ppo", record(fear=fear))]])
    assert isinstance(console.file, io.StringIO)
    assert ("fear at each token" in console.file.getvalue()) == explained
