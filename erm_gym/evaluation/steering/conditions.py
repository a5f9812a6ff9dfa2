"""What a sweep compares: approaches, strengths, where the bin comes from, and controls."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from erm_gym.steering import SteeringConfig, SteeringSignals
from erm_gym.steering.binning import FINE
from erm_gym.steering.config import choose_signals

Source = Literal["true", "predicted"]
"""Where a text's bin comes from: its label, as in the finding, or the model's own first pass."""
Control = Literal["signal", "random", "shuffled"]
"""What is put in: the bin's signal; a random one of the same length for each bin; or the signal of
another text's bin."""
BROKEN_PERPLEXITY = 2.0
"""How many times the perplexity of unsteered text makes a model broken."""
SOURCES: tuple[Source, ...] = ("true", "predicted")
CONTROLS: tuple[Control, ...] = ("signal", "random", "shuffled")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One way of steering all texts."""

    config: SteeringConfig
    source: Source = "true"
    control: Control = "signal"

    def __str__(self) -> str:
        config = self.config
        layers = "+".join(map(str, config.target_layers))
        return (
            f"{config.approach} {config.binning} layers {layers} strength {config.strength:g} "
            f"{self.source} {self.control}"
        )

    def signals(self, signals: SteeringSignals, bins: Tensor, seed: int) -> Tensor:
        """What each text is steered by, `[n, 2, 128]`.

        Args:
            signals: Of the training texts, for the condition's grid.
            bins: `[n]` bins of the texts.
            seed: Of the controls' random numbers.
        """
        rng = np.random.default_rng([seed, 7])
        if self.control == "shuffled":
            bins = bins[torch.from_numpy(rng.permutation(len(bins)))]
        if self.control == "random":
            means = signals.means
            noise = torch.from_numpy(rng.standard_normal(means.shape)).float()
            means = noise / noise.norm(dim=-1, keepdim=True) * means.norm(dim=-1, keepdim=True)
            signals = replace(signals, means=means)
        return choose_signals(self.config, signals, bins)


def approach_table(layers: tuple[int, ...], strength: float) -> dict[str, Condition]:
    """The approaches of the finding by name, for bins from true labels.

    Args:
        layers: The steered layers; a single layer is the last of them, and each for itself to
            compare layers.
        strength: Of all of them.
    """
    given = {"strength": strength, "target_layers": layers}
    table = {
        "25-bin dual": _condition(approach="dual", binning=FINE, **given),
        "9-bin dual": _condition(approach="dual", **given),
        "9-bin valence-only": _condition(approach="valence-only", **given),
        "9-bin arousal-only": _condition(approach="arousal-only", **given),
    }
    return table | {single(layer): at_layer(layer, strength) for layer in layers}


def single(layer: int) -> str:
    """Name of valence-only steering at one layer."""
    return f"9-bin valence, layer {layer} only"


def at_layer(layer: int, strength: float) -> Condition:
    """Valence-only steering at one layer, for bins from true labels."""
    return _condition(approach="valence-single-layer", strength=strength, target_layers=(layer,))


def strength_table(layer: int, strengths: Sequence[float]) -> dict[float, Condition]:
    """Valence-only steering at one layer by strength, for bins from true labels."""
    return {strength: at_layer(layer, strength) for strength in strengths}


def _condition(**fields: Any) -> Condition:
    with warnings.catch_warnings():  # where a model breaks is what is looked for
        warnings.simplefilter("ignore")
        return Condition(config=SteeringConfig(**fields))
