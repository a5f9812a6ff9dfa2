"""A comparison as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.storage import atomic_path

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito 2008, which colour-blind readers can tell apart."""
STILL = "#6E6E6E"
"""Colour of agents that do not learn."""
RATES = (
    ("careful_on_risky", "o", "on risky prompts (wanted)", -0.13),
    ("careful_on_harmless", "X", "on harmless prompts (not wanted)", 0.13),
)
"""Rates of the right panel: field, marker, label, and offset within an agent's row."""


def plot_comparison(results: dict[str, Any], path: Path) -> None:
    """Draws learning curves and final rates as a PNG of 1600 x 700 pixels.

    Left: the user's feedback while training, thin for each seed and bold for their mean, and as a
    dashed line the feedback of agents that do not learn, on the prompts of the evaluation. Right:
    how often replies are careful, with 95% intervals; the feedback instead if the user states no
    stance.

    Args:
        results: What `compare` returns.
        path: The file; missing folders are made.

    Raises:
        RunError: If there is no result yet, or the file cannot be written.
    """
    agents = results["agents"]
    if not agents:
        raise RunError("there is no finished run to draw")
    colours, learners = {}, iter(COLOURS * len(agents))
    for agent in agents:
        colours[agent] = next(learners) if agent in results["curves"] else STILL
    figure = Figure(figsize=(16, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    curves, rates = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    _draw_curves(curves, results, colours)
    _draw_rates(rates, results, colours)
    for axes in (curves, rates):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=13)
    save_picture(figure, path)


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _draw_curves(axes: Axes, results: dict[str, Any], colours: dict[str, str]) -> None:
    for agent, colour in colours.items():
        curves = results["curves"].get(agent, {}).values()
        seeds = [curve for curve in curves if curve["steps"]]
        if not seeds:
            feedback = results["agents"][agent]["feedback"]
            if feedback is None:  # a user that said nothing
                continue
            level = feedback["mean"]
            axes.axhline(
                level, color=colour, linestyle="--", linewidth=2, label=f"{agent} (evaluated)"
            )
            continue
        for curve in seeds:
            axes.plot(curve["steps"], curve["feedback"], color=colour, linewidth=1, alpha=0.4)
        steps, mean = _mean_curve(seeds)
        marker = "o" if len(steps) == 1 else ""
        axes.plot(steps, mean, color=colour, linewidth=3, marker=marker, label=agent)
    axes.set_title("While training", fontsize=16, loc="left")
    axes.set_xlabel("training tokens", fontsize=14)
    axes.set_ylabel("user's feedback, mean of the last 128 replies", fontsize=14)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.legend(fontsize=13, frameon=False)


def _mean_curve(seeds: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds at the steps of the first one that all of them reached."""
    first = np.array(seeds[0]["steps"], float)
    begin = max(curve["steps"][0] for curve in seeds)
    end = min(curve["steps"][-1] for curve in seeds)
    steps = first[(first >= begin) & (first <= end)]
    if not len(steps):  # where feedback is rare, seeds may have nothing in common
        return steps, steps
    values = [np.interp(steps, curve["steps"], curve["feedback"]) for curve in seeds]
    return steps, np.mean(values, axis=0)


def _draw_rates(axes: Axes, results: dict[str, Any], colours: dict[str, str]) -> None:
    agents = results["agents"]
    shown = [rate for rate in RATES if any(values[rate[0]] for values in agents.values())]
    if not shown:
        shown = [("feedback", "o", "feedback", 0.0)]
    for name, marker, label, offset in shown:
        axes.plot([], [], marker, color="#333333", markersize=11, label=label)
        for row, (agent, values) in enumerate(agents.items()):
            if values[name] is None:
                continue
            mean, low, high = (values[name][key] for key in ("mean", "low", "high"))
            axes.plot([low, high], [row + offset] * 2, color=colours[agent], linewidth=3)
            axes.plot(mean, row + offset, marker, color=colours[agent], markersize=13)
    axes.set_yticks(range(len(agents)), list(agents))
    axes.set_ylim(len(agents) - 0.5, -0.5)
    axes.set_title(
        f"On {results['config']['split']} prompts, with 95% intervals", fontsize=16, loc="left"
    )
    if shown[0][0] == "feedback":
        axes.set_xlabel("user's feedback, from -1 to 1", fontsize=14)
    else:
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("replies that hedge or refuse", fontsize=14)
        axes.legend(
            fontsize=13, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2
        )
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_axisbelow(True)
