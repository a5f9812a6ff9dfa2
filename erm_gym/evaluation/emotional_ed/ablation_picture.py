"""A fair comparison as a picture: who scores what, and how they learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erm_gym.evaluation.emotional_ed.variants import EMOTIONAL
from erm_gym.evaluation.picture import save_picture

BASELINE, CONTROL, AGENT = "#0072B2", "#6E6E6E", "#D55E00"
"""Colours of baselines, of controls of the signal, and of the agent itself (Okabe & Ito 2008)."""


def plot_ablation(results: dict[str, Any], path: Path) -> None:
    """Draws the evaluation with 95% intervals, and the learning curves, as 1600 x 700 pixels.

    Args:
        results: What `ablate` returns.
        path: The file; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    figure = Figure(figsize=(16, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    scores, curves = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    _draw_scores(scores, results)
    _draw_curves(curves, results)
    for axes in (scores, curves):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=13)
        axes.set_axisbelow(True)
    save_picture(figure, path)


def _colour(name: str, found: dict[str, Any]) -> str:
    return AGENT if name == EMOTIONAL else BASELINE if found["baseline"] else CONTROL


def _draw_scores(axes: Axes, results: dict[str, Any]) -> None:
    config = results["config"]
    variants = results["variants"]
    names = sorted(variants, key=lambda name: -variants[name]["iqm"][0])
    for row, name in enumerate(names):
        found = variants[name]
        middle, low, high = found["iqm"]
        colour = _colour(name, found)
        points = [row] * len(found["scores"])
        axes.plot(found["scores"], points, "|", color=colour, alpha=0.3, markersize=14)
        axes.plot([low, high], [row, row], color=colour, linewidth=4)
        axes.plot(middle, row, "o", color=colour, markersize=11)
    low, high = results["range"]
    lows = min([found["iqm"][1] for found in variants.values()])
    if results["optimum"] is not None:
        axes.axvline(results["optimum"], color="black", linestyle="--", label="best policy")
        high = max(high, results["optimum"])
    margin = 0.15 * max(high - lows, 1e-9)
    axes.set_xlim(min(lows, high) - margin, high + margin)
    if low < lows - margin:  # the line would be far outside
        axes.set_xlabel(f"return, greedy (a random policy: {low:.2f})", fontsize=14)
    else:
        axes.axvline(low, color=CONTROL, linestyle=":", label="random policy")
        axes.set_xlabel("return, greedy", fontsize=14)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=12, frameon=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(
        f"{config['agent']} in {config['env']}: interquartile mean of {config['seeds']} seeds",
        fontsize=15,
        loc="left",
    )
    axes.grid(axis="x", color="#E5E5E5")


def _draw_curves(axes: Axes, results: dict[str, Any]) -> None:
    episodes = results["config"]["episodes"]
    baseline = results.get("verdict", {}).get("baseline")
    shown = {EMOTIONAL: "the agent", "placebo": "placebo", "off": "signal off"}
    if baseline:
        shown[baseline] = f"best baseline: {baseline}"
    styles = {EMOTIONAL: (AGENT, "-"), "placebo": (CONTROL, "--"), "off": (BASELINE, ":")}
    for name, label in shown.items():
        curve = results["variants"][name]["curve"]
        x = [(point + 0.5) * episodes / len(curve) for point in range(len(curve))]
        colour, style = (BASELINE, "-") if name == baseline else styles[name]
        axes.plot(x, curve, style, color=colour, linewidth=3, label=label)
    axes.set_xlabel("episodes of training", fontsize=14)
    axes.set_ylabel("return while training", fontsize=14)
    axes.set_title("While training", fontsize=15, loc="left")
    axes.legend(fontsize=13, frameon=False)
    axes.grid(axis="y", color="#E5E5E5")
