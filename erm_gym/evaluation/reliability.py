"""A reliability diagram: what an ERM's probabilities are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erm_gym.emotion import EMOTIONS
from erm_gym.emotion.training.evaluation import ERMFigures
from erm_gym.emotion.training.metrics import reliability
from erm_gym.evaluation.picture import COLOURS, save_picture


def plot_reliability(figures: ERMFigures, path: Path) -> None:
    """Draws, for each of the six emotions, how often texts have it by how likely it was said to be.

    Points on the diagonal are honest; the area of a point grows with the logarithm
    of the number of texts in its bin.

    Args:
        figures: Of labelled texts.
        path: A PNG of 1500 x 950 pixels; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    figure = Figure(figsize=(15, 9.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for column, (axes, emotion) in enumerate(zip(panels.flat, EMOTIONS, strict=True)):
        known = ~figures.truth[:, column].isnan()
        _draw(
            axes,
            figures.probabilities[known, column].numpy(),
            figures.truth[known, column].numpy(),
            COLOURS[column],
        )
        error = figures.emotions[emotion].ece
        axes.set_title(f"{emotion}: calibration error {error:.3f}", fontsize=15, loc="left")
    figure.supxlabel("probability that the critic gives", fontsize=15)
    figure.supylabel("share of texts that people gave the label", fontsize=15)
    save_picture(figure, path)


def _draw(axes: Axes, probability: np.ndarray, truth: np.ndarray, colour: str) -> None:
    predicted, observed, count = reliability(probability, truth)
    axes.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, zorder=0)
    there = count > 0
    deviation = np.sqrt(observed[there] * (1 - observed[there]) / count[there])
    axes.errorbar(
        predicted[there],
        observed[there],
        yerr=1.96 * deviation,
        color=colour,
        linewidth=1,
        elinewidth=1.5,
    )
    area = 20 + 60 * np.log10(count[there])
    axes.scatter(predicted[there], observed[there], s=area, color=colour, zorder=3)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=12)
    axes.spines[["top", "right"]].set_visible(False)
