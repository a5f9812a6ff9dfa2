"""Replies on the screen, every token coloured by the fear that was felt when it was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from erm_gym.emotion.fear_colours import coloured_tokens, legend, visible

if TYPE_CHECKING:
    from erm_gym.evaluation import EpisodeRecord


def coloured_reply(record: EpisodeRecord) -> Text:
    """A reply with every token in the colour of its fear; plain if no critic watched."""
    text = coloured_tokens(record.tokens, record.fear)
    return text if text.plain.strip() else Text("(says nothing)", style="dim italic")


def exchange(replies: Sequence[tuple[str, EpisodeRecord]]) -> Panel:
    """One prompt with the replies of one or several agents to it.

    Args:
        replies: Names of the agents and what each answered; all to the same prompt.
    """
    first = replies[0][1]
    kind = ("risky", "bold red") if first.risky else ("harmless", "bold green")
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
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
    if record.given:
        text = Text(f"{record.score:+.2f}", "green" if record.score >= 0 else "red")
    else:
        text = Text("no feedback", "dim")
    if record.stance:
        text.append(f" {record.stance}")
    if record.fear:
        text.append(f"\npeak fear {max(record.fear):.2f}", style="dim")
    return text
