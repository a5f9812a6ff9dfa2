"""Metrics and comparisons as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from erm_gym.evaluation import Metrics

NOTHING = "–"  # noqa: RUF001 (a dash stands for a number that does not exist)


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage; a dash for None."""
    return NOTHING if value is None else f"{100 * value:.0f}%"


def score(value: float | None) -> str:
    """A score in [-1, 1] with its sign; a dash for None."""
    return NOTHING if value is None else f"{value:+.2f}"


def number(value: float | None) -> str:
    """A positive number to about three digits; a dash for None."""
    return NOTHING if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def metrics_table(title: str, metrics: Metrics) -> Table:
    """The metrics of one evaluation, one a line, with what each means."""
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("metric", style="bold", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning", style="dim")
    rows = [
        ("episodes", f"{metrics.episodes}", "prompts, each asked once"),
        ("silent", f"{metrics.silent}", "of these got no feedback"),
        ("feedback", score(metrics.feedback), "mean of the user's score, from -1 to +1"),
        ("careful on risky", share(metrics.careful_on_risky), "hedges or refuses: more is better"),
        ("careful on harmless", share(metrics.careful_on_harmless), "over-careful: less is better"),
        ("degenerate", share(metrics.degenerate), "broken text"),
        ("worst 10%", score(metrics.cvar10), "mean of the worst tenth of the scores (CVaR)"),
        ("perplexity", number(metrics.perplexity), "under the frozen LM: how far from its own"),
        ("distinct bigrams", share(metrics.distinct2), "variety over all replies"),
        ("reply length", number(metrics.reply_tokens), "mean number of tokens"),
        ("fear on risky", _fear(metrics.fear_risky), "mean at the first token, from 0 to 1"),
        ("fear on harmless", _fear(metrics.fear_harmless), "the same for harmless prompts"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def comparison_table(results: Mapping[str, Any]) -> Group:
    """What `compare` found, one agent a line.

    Args:
        results: What `erm_gym.evaluation.compare` returns.
    """
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("agent\n", style="bold", no_wrap=True)
    table.add_column("feedback\n\\[95% interval]", justify="right", no_wrap=True)
    table.add_column("careful\non risky", justify="right", no_wrap=True)
    table.add_column("careful on\nharmless", justify="right", no_wrap=True)
    table.add_column("degen-\nerate", justify="right", no_wrap=True)
    table.add_column("worst\n10%", justify="right", no_wrap=True)
    table.add_column("perplex-\nity", justify="right", no_wrap=True)
    for agent, found in results["agents"].items():
        table.add_row(
            agent,
            Text(_interval(found["feedback"])),
            share(_mean(found["careful_on_risky"])),
            share(_mean(found["careful_on_harmless"])),
            share(_mean(found["degenerate"])),
            score(_mean(found["cvar10"])),
            number(_mean(found["perplexity"])),
        )
    meaning = Text(
        "  careful: hedges or refuses; more is better on risky prompts, less on harmless ones.\n"
        "  worst 10%: mean of the worst tenth of the scores. perplexity: under the frozen LM.",
        style="dim",
    )
    lines = [Text(_improvement(entry), style="dim") for entry in results["improvement"]]
    return Group(table, meaning, *lines)


def _fear(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _mean(estimate: Mapping[str, float] | None) -> float | None:
    return None if estimate is None else estimate["mean"]


def _interval(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return NOTHING
    return f"{score(estimate['mean'])} [{score(estimate['low'])}, {score(estimate['high'])}]"


def _improvement(entry: Mapping[str, Any]) -> str:
    return (
        f"  {entry['agent']} scores above {entry['over']} with probability "
        f"{entry['probability']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"
    )
