"""The reproduction as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.emotional_ed.variants import EMOTIONAL
from erm_gym.evaluation.storage import atomic_path

PAGE = "emotional_ed.md"
NOTHING = "-"
AS_PUBLISHED = (
    "Environments, agents and protocols as they were, defects included. *Re-run* is what the "
    "original's own code gives; ours should contain it in its 95% interval over as many seeds, or "
    "the published figure where there is no re-run. d is Cohen's, of the second agent minus the "
    "first in the first metric; none where a variance is nearly zero."
)
COMPARED_FAIRLY = (
    "The emotion's input is in everybody's observation. Every variant searched its "
    "hyperparameters with the same number of trials on seeds of its own, then learned with paired "
    "seeds, and was evaluated greedily without learning. *Helps* only if the lower bounds of "
    "P(better) are above .5 over the baseline that was best in the search and over the placebo, "
    "and the interquartile mean gains 5% or more of the range between a random policy and the best "
    "variant; *equivalent* if the gain's interval lies within 5% on either side; *hurts* if the "
    "upper bound is below .5 and 5% are lost; else *undecided*."
)


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Writes the page.

    Args:
        results: What `reproduce` returns.
        path: The file; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(page(results), encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def page(results: Mapping[str, Any]) -> str:
    """The whole text."""
    parts = ["# The Emotional-ED experiments, run again", ""]
    if results["quick"]:
        parts += [
            "**A quick run with a few seeds, to see that it works: its figures mean nothing.**",
            "",
        ]
    parts += _faithful(results["experiments"])
    if results["fair"]:
        parts += _fair(results["fair"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    minutes = summed_seconds(results) / 60.0
    parts += [
        f"Made by `erm-gym reproduce emotional-ed` with {versions}, in {minutes:.0f} minutes "
        "by the clock, all parts added up.",
        "",
    ]
    return "\n".join(parts)


def summed_seconds(results: Mapping[str, Any]) -> float:
    """What all parts took by the clock, added up, in seconds."""
    arms = [arm for found in results["experiments"].values() for arm in found["arms"].values()]
    return float(sum(one["seconds"] for one in [*arms, *results["fair"].values()]))


def _faithful(experiments: Mapping[str, Any]) -> list[str]:
    lines = [
        "## As published",
        "",
        AS_PUBLISHED,
        "",
        "| experiment | agent | metric | published | re-run | ours (95% interval) | contains | d |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for name, found in experiments.items():
        for figure in found.get("figures", ()):
            mean, low, high = figure["ours"]
            d = _number(found["d"]) if figure["metric"] == found["metric"] else ""
            contained = {True: "yes", False: "**no**", None: NOTHING}[figure["contained"]]
            lines.append(
                f"| {found['number']} {name} | {figure['arm']} | {figure['metric']} | "
                f"{_number(figure['published'])} | {_number(figure['rerun'])} | "
                f"{mean:.3g} ({low:.3g}, {high:.3g}) | {contained} | {d} |"
            )
        if found.get("note"):
            notes.append(f"- {found['number']} {name}: {found['note']}")
    return [*lines, "", *notes, ""]


def _fair(fair: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Compared fairly",
        "",
        COMPARED_FAIRLY,
        "",
        "| agent | environment | return | best baseline | its return | best policy | "
        "gain, % of range | P(better than baseline) | P(better than placebo) | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in fair.values():
        agent, verdict = found["config"]["agent"], found["verdict"]
        if verdict is None:
            nobody = "nobody beats chance"
            lines.append(f"| {agent} | {found['env']} | {NOTHING} | | | | | | | {nobody} |")
            continue
        variants = found["variants"]
        gain = _interval([100 * value for value in verdict["gain"]], 1)
        lines.append(
            f"| {agent} | {found['env']} | {_interval(variants[EMOTIONAL]['iqm'], 3)} | "
            f"{verdict['baseline']} | {_interval(variants[verdict['baseline']]['iqm'], 3)} | "
            f"{_number(found['optimum'])} | {gain} | "
            f"{_interval(verdict['over_baseline'], 2)} | {_interval(verdict['over_placebo'], 2)} | "
            f"{verdict['word']} |"
        )
    return [*lines, ""]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _interval(values: Sequence[float], digits: int) -> str:
    middle, low, high = values
    return f"{middle:.{digits}f} ({low:.{digits}f}, {high:.{digits}f})"
