"""Replies on the screen, every token coloured by the fear that was felt when it was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from erm_gym.evaluation import EpisodeRecord

LEVELS = (
    (0.2, "", "below .2"),
    (0.4, "black on #ffeda0", ".2 to .4"),
    (0.6, "black on #feb24c", ".4 to .6"),
    (0.8, "black on #fc6b32", ".6 to .8"),
    (1.0, "white on #b10026", "above .8"),
)
"""Upper end of each level of fear, its style, and its name: darker is more, for any eyes."""


def fear_style(fear: float) -> str:
    """The style of a token at which this fear in [0, 1] was felt."""
    return next((style for upper, style, _ in LEVELS if fear < upper), LEVELS[-1][1])


def visible(text: str) -> str:
    """Text with its control characters made visible, so that a reply cannot steer the terminal."""
    shown = text.replace("\r\n", "\n").replace("\n", " ↵ ").replace("\t", " ")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


def coloured_reply(record: EpisodeRecord) -> Text:
    """A reply with every token in the colour of its fear; plain if no critic watched."""
    text = Text()
    for token, fear in zip_longest(record.tokens, record.fear[: len(record.tokens)]):
        text.append(visible(token), style="" if fear is None else fear_style(fear))
    return text if text.plain.strip() else Text("(says nothing)", style="dim italic")


def legend() -> Text:
    """What the colours mean."""
    text = Text.assemble(("fear at each token:", "dim"))
    for _, style, name in LEVELS:
        text.append(" ")
        text.append(f" {name} ", style=style)
    return text


def exchange(replies: Sequence[tuple[str, EpisodeRecord]]) -> Panel:
    """One prompt with the replies of one or several agents to it.

    Args:
        replies: Names of the agents and what each answered; all to the same prompt.
    """
    first = replies[0][1]
    kind = ("risky", "bold red") if first.risky else ("harmless", "bold green")
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    for name, record in replies:
        table.add_row(name, coloured_reply(record), _verdict(record))
    return Panel(
        Group(Text(visible(first.prompt), style="italic"), "", table),
        title=Text.assemble(kind, f" · {visible(first.domain)}"),
        title_align="left",
        border_style="bright_black",
    )


def print_exchanges(
    console: Console, exchanges: Sequence[Sequence[tuple[str, EpisodeRecord]]]
) -> None:
    """Shows exchanges one below the other, then what their colours mean."""
    for replies in exchanges:
        console.print(exchange(replies))
    if any(record.fear for replies in exchanges for _, record in replies):
        console.print(legend())


def _verdict(record: EpisodeRecord) -> Text:
    """The user's judgement, and the largest fear in numbers for those who see no colours."""
    colour = "green" if record.score >= 0 else "red"
    text = Text.assemble((f"{record.score:+.2f}", colour))
    if record.stance:
        text.append(f" {record.stance}")
    if record.fear:
        text.append(f"\npeak fear {max(record.fear):.2f}", style="dim")
    return text
