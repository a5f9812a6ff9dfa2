"""Metrics and comparisons as tables."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from erm_gym.cli.tables import alarm_table, comparison_table, metrics_table, number, score, share
from erm_gym.evaluation import Canaries, Metrics


def render(shown: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_numbers_as_they_are_shown() -> None:
    assert [share(value) for value in (None, 0.0, 0.126, 1.0)] == ["–", "0%", "13%", "100%"]  # noqa: RUF001
    assert [score(value) for value in (None, 0.0, -0.333, 1.0)] == ["–", "+0.00", "-0.33", "+1.00"]  # noqa: RUF001
    assert [number(value) for value in (None, 1.04, 999.0, 12345.6)] == [
        "–",  # noqa: RUF001
        "1.0",
        "999.0",
        "12,346",
    ]


def test_metrics_one_a_line() -> None:
    metrics = Metrics(
        episodes=96,
        silent=6,
        feedback=-0.25,
        careful_on_risky=0.5,
        careful_on_harmless=None,
        degenerate=0.02,
        cvar10=-0.9,
        perplexity=7.25,
        distinct2=0.8,
        reply_tokens=19.0,
        fear_risky=0.875,
        fear_harmless=None,
    )
    lines = render(metrics_table("a [title]", metrics), width=80)
    values = {line[:21].strip(): line[21:31].strip() for line in lines[4:] if line.strip()}
    assert lines[0].strip() == "a [title]"
    assert values == {
        "episodes": "96",
        "silent": "6",
        "feedback": "-0.25",
        "careful on risky": "50%",
        "careful on harmless": "–",  # noqa: RUF001
        "degenerate": "2%",
        "worst 10%": "-0.90",
        "perplexity": "7.2",
        "distinct bigrams": "80%",
        "reply length": "19.0",
        "fear on risky": "0.88",
        "fear on harmless": "–",  # noqa: RUF001
    }


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.125, "high": mean + 0.125}


def test_a_comparison_has_a_line_for_every_agent() -> None:
    agent: dict[str, Any] = {
        "runs": 3,
        "feedback": estimate(0.5),
        "feedback_iqm": estimate(0.5),
        "careful_on_risky": estimate(0.75),
        "careful_on_harmless": estimate(0.125),
        "degenerate": None,
        "cvar10": estimate(-1.0),
        "perplexity": estimate(1234.5),
    }
    improvement = {"agent": "ppo", "over": "frozen", "probability": 0.9, "low": 0.8, "high": 1.0}
    results = {
        "agents": {"emotional-frozen": agent, "ppo": agent},
        "improvement": [improvement],
    }
    lines = render(comparison_table(results), width=100)
    rows = [line.split() for line in lines if line.strip().startswith(("emotional-frozen", "ppo"))]
    shown = ["+0.50", "[+0.38,", "+0.62]", "75%", "12%", "–", "-1.00", "1,234"]  # noqa: RUF001
    assert rows[0] == ["emotional-frozen", *shown]
    assert rows[1] == ["ppo", *shown]
    assert lines[-1] == "  ppo scores above frozen with probability 0.90 [0.80, 1.00]"


def test_the_held_out_user_and_the_canaries_are_metrics() -> None:
    canaries = Canaries(
        repetition=0.25,
        distinct2=0.5,
        reply_tokens=9.0,
        perplexity=7.0,
        refused_harmless=None,
        hedging_words=0.125,
    )
    plain = {"careful_on_risky": None, "careful_on_harmless": None, "degenerate": None}
    fear = {"fear_risky": None, "fear_harmless": None}
    metrics = Metrics(
        episodes=4,
        silent=0,
        feedback=0.5,
        cvar10=0.0,
        perplexity=7.0,
        distinct2=0.5,
        reply_tokens=9.0,
        held_out=-0.5,
        canaries=canaries,
        **plain,
        **fear,
    )
    lines = render(metrics_table("title", metrics), width=80)
    values = {line[:21].strip(): line[21:31].strip() for line in lines[4:] if line.strip()}
    assert values["held-out user"] == "-0.50"
    assert (values["repetition"], values["hedging words"]) == ("25%", "12%")
    assert values["refused harmless"] == "–"  # noqa: RUF001


ALARMS = [
    {"canary": "repetition", "value": 0.5, "frozen": 0.0, "low": 0.0, "high": 0.05, "rings": True},
    {"canary": "perplexity", "value": 7.0, "frozen": 6.0, "low": 5.0, "high": 7.5, "rings": False},
    {"canary": "held_out", "value": -0.5, "frozen": 0.5, "low": 0.25, "high": 0.75, "rings": True},
]


def test_canaries_of_one_agent() -> None:
    lines = [line.split() for line in render(alarm_table(ALARMS), width=100)]
    assert ["repetition", "50%", "0%", "0%", "to", "5%", "rings"] in lines
    assert ["perplexity", "7.0", "6.0", "5.0", "to", "7.5"] in lines
    assert ["held-out", "user", "-0.50", "+0.50", "+0.25", "to", "+0.75", "rings"] in lines


def test_canaries_of_a_comparison() -> None:
    plain = dict.fromkeys(("careful_on_risky", "careful_on_harmless", "degenerate"))
    numbers = {"feedback": estimate(0.5), "cvar10": estimate(0.0), "perplexity": estimate(7.0)}
    results = {
        "agents": {
            "frozen": {**plain, **numbers, "held_out": estimate(0.25)},
            "ppo": {**plain, **numbers, "held_out": None},
            "dqn": {**plain, **numbers},  # as in results from before there were held-out users
        },
        "improvement": [],
        "alarms": {
            "ppo": {"runs": 1, "canaries": ALARMS},
            "dqn": {"runs": 1, "canaries": ALARMS[1:2]},
        },
    }
    lines = render(comparison_table(results), width=100)
    cells = [line.split() for line in lines]
    assert [row[-1] for row in cells if row[:1] == ["frozen"]] == ["+0.25", "+0.50"]
    assert ["frozen", "LM", "0%", "6.0", "+0.50"] in cells
    assert ["ppo", "50%", "!", "7.0", "-0.50", "!"] in cells
    assert ["dqn", "–", "7.0", "–"] in cells  # noqa: RUF001
    assert lines[-2:] == [
        "  ! ppo: repetition rings: 50%, the frozen LM's own range is 0% to 5%",
        "  ! ppo: held-out user rings: -0.50, the frozen LM's own range is +0.25 to +0.75",
    ]
