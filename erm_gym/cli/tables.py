"""Metrics and comparisons as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from erm_gym.emotion import EmotionalCritic
    from erm_gym.evaluation import Metrics
    from erm_gym.llm import FrozenLLM

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
    if metrics.held_out is not None:
        rows.insert(2, ("held-out user", score(metrics.held_out), "another user, not learned from"))
    if metrics.canaries is not None:
        found = metrics.canaries
        rows += [
            ("repetition", share(found.repetition), "token trigrams that a reply had before"),
            ("refused harmless", share(found.refused_harmless), "harmless prompts refused"),
            ("hedging words", share(found.hedging_words), "perhaps, might, probably, ..."),
        ]
    for row in rows:
        table.add_row(*row)
    return table


def alarm_table(alarms: Sequence[Mapping[str, Any]]) -> Group:
    """The canaries of one agent beside those of the frozen LM.

    Args:
        alarms: The fields of `Alarm`s.
    """
    table = Table(
        title=Text("canaries: what was not rewarded", "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("canary", style="bold", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("frozen LM", justify="right", no_wrap=True)
    table.add_column("its own range", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for alarm in alarms:
        shown = _CANARIES[alarm["canary"]].shown
        table.add_row(
            _CANARIES[alarm["canary"]].name,
            shown(alarm["value"]),
            shown(alarm["frozen"]),
            Text(f"{shown(alarm['low'])} to {shown(alarm['high'])}"),
            Text("rings", style="bold red") if alarm["rings"] else "",
        )
    return Group(table, Text(_RANGE, style="dim"))


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
    held_out = any(found.get("held_out") for found in results["agents"].values())
    if held_out:
        table.add_column("held-out\nuser", justify="right", no_wrap=True)
    for agent, found in results["agents"].items():
        table.add_row(
            agent,
            Text(_interval(found["feedback"])),
            share(_mean(found["careful_on_risky"])),
            share(_mean(found["careful_on_harmless"])),
            share(_mean(found["degenerate"])),
            score(_mean(found["cvar10"])),
            number(_mean(found["perplexity"])),
            *([score(_mean(found.get("held_out")))] if held_out else []),
        )
    meaning = Text(
        "  careful: hedges or refuses; more is better on risky prompts, less on harmless ones.\n"
        "  worst 10%: mean of the worst tenth of the scores. perplexity: under the frozen LM.",
        style="dim",
    )
    lines = [Text(_improvement(entry), style="dim") for entry in results["improvement"]]
    return Group(table, meaning, *_canaries(results.get("alarms", {})), *lines)


def _canaries(alarms: Mapping[str, Any]) -> list[Table | Text]:
    """Canaries of all agents, one agent a line, and what rings."""
    if not alarms:
        return []
    rows = {agent: {one["canary"]: one for one in alarms[agent]["canaries"]} for agent in alarms}
    columns = [name for name in _CANARIES if any(name in row for row in rows.values())]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("canaries\n", style="bold", no_wrap=True)
    for name in columns:
        table.add_column(_CANARIES[name].heading, justify="right", no_wrap=True)
    frozen = {name: one for row in rows.values() for name, one in row.items()}
    table.add_row("frozen LM", *(_CANARIES[name].shown(frozen[name]["frozen"]) for name in columns))
    ringing = []
    for agent, row in rows.items():
        cells = []
        for name in columns:
            found, kind = row.get(name), _CANARIES[name]
            rings = found is not None and found["rings"]
            value = kind.shown(found["value"]) if found is not None else NOTHING
            cells.append(Text(f"{value} !" if rings else value, "bold red" if rings else ""))
            if rings and found is not None:
                low, high = kind.shown(found["low"]), kind.shown(found["high"])
                line = f"  ! {agent}: {kind.name} rings: {value}, the frozen LM's own range is "
                ringing.append(Text(f"{line}{low} to {high}", style="red"))
        table.add_row(agent, *cells)
    return [table, Text(_RANGE, style="dim"), *ringing]


class _Kind(NamedTuple):
    """How a canary is shown."""

    name: str
    heading: str
    shown: Callable[[float | None], str]


_CANARIES = {
    "repetition": _Kind("repetition", "repe-\ntition", share),
    "distinct2": _Kind("distinct bigrams", "distinct\nbigrams", share),
    "reply_tokens": _Kind("reply length", "reply\nlength", number),
    "perplexity": _Kind("perplexity", "perplex-\nity", number),
    "refused_harmless": _Kind("refused harmless", "refused\nharmless", share),
    "hedging_words": _Kind("hedging words", "hedging\nwords", share),
    "held_out": _Kind("held-out user", "held-out\nuser", score),
}
_RANGE = (
    "  A canary rings if it is outside the frozen LM's own range, on the same prompts, by a size\n"
    "  that matters; the held-out user rings if it is less content while the user is more so."
)


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


def words_table(critic: EmotionalCritic, llm: FrozenLLM) -> Table:
    """Which words each emotion makes likelier and less likely."""
    from erm_gym.emotion.training.modulator import boosted_tokens

    table = Table(title="Words that an emotion moves", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("emotion", "likelier", "less likely"):
        table.add_column(name, style="bold" if name == "emotion" else "")
    for emotion in ("fear", "curiosity", "anger"):
        words = boosted_tokens(critic, llm, emotion)
        sides = (", ".join(word for word, _ in side) for side in (words.raised, words.lowered))
        table.add_row(emotion, *sides)
    return table
