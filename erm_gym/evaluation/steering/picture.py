"""What steering does, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erm_gym.evaluation.picture import COLOURS, save_picture
from erm_gym.evaluation.steering.conditions import CONTROLS, SOURCES
from erm_gym.evaluation.steering.readers import READERS
from erm_gym.steering.feedback import PATHWAYS

AFFECT_PICTURE, REPLIES_PICTURE = "steering_affect.png", "steering_replies.png"
READ_IN_BINS = ("joy", "fear")
"""Emotions that are drawn of replies that are steered towards bins."""
LOOKS = {"signal": "o", "random": "x", "shuffled": "s"}


def plot_affect(found: Mapping[str, Any], path: Path) -> None:
    """Draws changes of r by strength, and by approach, as 1600 x 700 pixels.

    Args:
        found: What `tables` returns, with the config of the sweep.
        path: The file; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    figure = Figure(figsize=(16, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    strengths, approaches = figure.subplots(1, 2)
    for place, affect in enumerate(PATHWAYS):
        for source, line in zip(SOURCES, ("--", "-"), strict=True):
            own = [by_source[source][place] for by_source in found["strengths"].values()]
            x = [float(name) for name in found["strengths"]]
            colour = COLOURS[place]
            label = f"{affect}, {source} bins"
            strengths.plot(x, [one[0] for one in own], line, color=colour, lw=2, label=label)
            low, high = [one[1] for one in own], [one[2] for one in own]
            strengths.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    strengths.set_xscale("log")
    strengths.set_xticks([float(name) for name in found["strengths"]])
    strengths.set_xticklabels(list(found["strengths"]))
    strengths.minorticks_off()
    strengths.set_xlabel("strength", fontsize=14)
    layer = found["config"]["target_layers"][-1]
    strengths.set_title(f"Valence signal at layer {layer}", fontsize=15, loc="left")
    _draw_approaches(approaches, found)
    for axes in (strengths, approaches):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=12)
    strengths.axhline(0.0, color="black", lw=1)
    strengths.set_ylabel("change of Pearson's r", fontsize=14)
    strengths.legend(fontsize=12, frameon=False)
    save_picture(figure, path)


def _draw_approaches(axes: Axes, found: Mapping[str, Any]) -> None:
    names = list(found["approaches"])
    for row, name in enumerate(names):
        for place, affect in enumerate(PATHWAYS):
            for number, control in enumerate(CONTROLS):
                mean, low, high = found["approaches"][name]["predicted"][control][place]
                y = row + 0.12 * (number - 1) + 0.4 * (place - 0.5)
                colour = COLOURS[place] if control == "signal" else "#6E6E6E"
                axes.plot([low, high], [y, y], color=colour, lw=2)
                label = None
                if row == 0 and (control == "signal" or place == 0):
                    label = affect if control == "signal" else f"control: {control}"
                axes.plot(mean, y, LOOKS[control], color=colour, markersize=8, label=label)
    axes.axvline(0.0, color="black", lw=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("change of Pearson's r, 95% interval", fontsize=14)
    strength = found["config"]["strength"]
    title = f"Approaches at strength {strength:g}, predicted bins"
    axes.set_title(title, fontsize=15, loc="left")
    axes.legend(fontsize=12, frameon=False)


def plot_replies(found: Mapping[str, Any], path: Path) -> None:
    """Draws Cohen's d and perplexity by strength, as 1600 x 1300 pixels.

    Above, of every emotion when replies are steered towards it by its direction, read by the critic
    and by a lexicon; below, of joy and fear when they are steered towards bins.

    Args:
        found: What `measure_effects` returns.
        path: The file; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    figure = Figure(figsize=(16, 13), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 3, sharex="row")
    emotions, bins = found["config"]["emotions"], found["config"]["bins"]
    for colour, emotion in zip(COLOURS, emotions, strict=False):
        effect = found["effects"][emotion]["strengths"]
        for axes, reader in zip(above, READERS, strict=False):
            sizes = {name: one["d"].get(reader, {}).get(emotion) for name, one in effect.items()}
            _draw_line(axes, sizes, colour, emotion)
        ratios = {name: one["perplexity_ratio"] for name, one in effect.items()}
        _draw_line(above[2], ratios, colour, emotion)
    for colour, label in zip(COLOURS, bins, strict=False):
        effect = found["effects"][label]["strengths"]
        for axes, emotion in zip(below, READ_IN_BINS, strict=False):
            sizes = {name: one["d"].get("critic", {}).get(emotion) for name, one in effect.items()}
            _draw_line(axes, sizes, colour, label)
        ratios = {name: one["perplexity_ratio"] for name, one in effect.items()}
        _draw_line(below[2], ratios, colour, label)
    titles = [f"Towards an emotion: its d, read by the {reader}" for reader in READERS]
    titles += ["Perplexity, times"]
    titles += [f"Towards a bin: d of {emotion}, read by the critic" for emotion in READ_IN_BINS]
    for axes, title in zip([*above, *below], [*titles, "Perplexity, times"], strict=True):
        axes.set_title(title, fontsize=14, loc="left")
        axes.set_xlabel("strength", fontsize=13)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=12)
    for row in (above, below):
        for axes in row[:2]:
            axes.axhline(0.0, color="black", lw=1)
        row[2].axhline(1.0, color="black", lw=1)
        row[2].set_yscale("log")
        row[0].legend(fontsize=12, frameon=False)
    save_picture(figure, path)


def _draw_line(axes: Axes, found: Mapping[str, Any], colour: str, label: str) -> None:
    """A line by strength of numbers or of intervals, which may be None."""
    own = {float(name): np.broadcast_to(one, 3) for name, one in found.items() if one is not None}
    x = list(own)
    axes.plot(x, [one[0] for one in own.values()], "o-", color=colour, lw=2, label=label)
    low, high = ([one[k] for one in own.values()] for k in (1, 2))
    axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
