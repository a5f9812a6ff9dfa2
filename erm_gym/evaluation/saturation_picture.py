"""Curves of what an ERM reads right by its size, its layers and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erm_gym.evaluation.picture import COLOURS, save_picture

TITLES = {"data": "share of the texts", "size": "widths of the encoder", "layers": "layers"}
"""Curves, left to right, and what stands under each."""
LOWER = "macro F1 of 28 labels"
"""The line whose numbers stand under it, as another is close above."""


def plot_saturation(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws macro F1, the mean AUC and three correlations for every point of every curve.

    Args:
        points: What `train_variant` returned.
        path: A PNG of 1600 x 600 pixels; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    figure = Figure(figsize=(16, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(TITLES), sharey=True)
    for axes, (curve, title) in zip(panels, TITLES.items(), strict=True):
        own = [point for point in points if curve in point["places"]]
        lines = {
            "mean AUC of four emotions": [np.mean(list(point["auc"].values())) for point in own],
            "r of valence": [point["affect"]["valence"] for point in own],
            "r of arousal": [point["affect"]["arousal"] for point in own],
            LOWER: [point["macro_f1"] for point in own],
            "r of dominance": [point["affect"]["dominance"] for point in own],
        }
        places = range(len(own))
        for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
            axes.plot(places, values, marker="o", color=colour, linewidth=2, label=name)
            for place, value in zip(places, values, strict=True):
                label = f"{value:.3f}".removeprefix("0")
                axes.annotate(
                    label,
                    (place, value),
                    (0, -15 if name == LOWER else 7),
                    textcoords="offset points",
                    ha="center",
                    fontsize=10,
                    color=colour,
                )
        axes.set_xticks(places, [point["places"][curve] for point in own], fontsize=12)
        axes.set_xlabel(title, fontsize=14)
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#EEEEEE")
    panels[0].set_ylim(0.25, 1.02)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=5,
        fontsize=13,
        frameon=False,
    )
    save_picture(figure, path)
