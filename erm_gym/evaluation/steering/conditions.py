"""What a sweep compares: approaches, strengths, where the bin comes from, and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from erm_gym.steering import Approach, SteeringSignals
from erm_gym.steering.binning import COARSE, FINE
from erm_gym.steering.config import masked

Source = Literal["true", "predicted"]
"""Where a text's bin comes from: its label, as in the finding, or the model's own first pass."""
Control = Literal["signal", "random", "shuffled"]
"""What is put in: the bin's signal; a random one of the same length for each bin; or the signal of
another text's bin."""
SOURCES: tuple[Source, ...] = ("true", "predicted")
CONTROLS: tuple[Control, ...] = ("signal", "random", "shuffled")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One way of steering all texts."""

    approach: Approach
    binning: str = COARSE
    layers: tuple[int, ...]
    strength: float
    source: Source
    control: Control = "signal"

    def __str__(self) -> str:
        layers = "+".join(map(str, self.layers))
        return (
            f"{self.approach} {self.binning} layers {layers} strength {self.strength:g} "
            f"{self.source} {self.control}"
        )

    def signals(self, signals: SteeringSignals, bins: Tensor, seed: int) -> Tensor:
        """What each text is steered by, `[n, 2, 128]`.

        Args:
            signals: Of the training texts, for this binning.
            bins: `[n]` bins of the texts.
            seed: Of the controls' random numbers.
        """
        rng = np.random.default_rng([seed, 7])
        if self.control == "shuffled":
            bins = bins[torch.from_numpy(rng.permutation(len(bins)))]
        means = signals.means
        if self.control == "random":
            noise = torch.from_numpy(rng.standard_normal(means.shape)).float()
            means = noise / noise.norm(dim=-1, keepdim=True) * means.norm(dim=-1, keepdim=True)
        usable = signals.usable[bins][:, None, None]
        return masked(self.approach, means[bins] * usable)


def approach_table(layers: tuple[int, ...], strength: float) -> dict[str, Condition]:
    """The approaches of the finding by name, for bins from true labels.

    Args:
        layers: The steered layers; a single layer is the last of them, and each for itself to
            compare layers.
        strength: Of all of them.
    """

    def at_all_layers(approach: Approach, binning: str = COARSE) -> Condition:
        return Condition(
            approach=approach, binning=binning, layers=layers, strength=strength, source="true"
        )

    table = {
        "25-bin dual": at_all_layers("dual", FINE),
        "9-bin dual": at_all_layers("dual"),
        "9-bin valence-only": at_all_layers("valence-only"),
        "9-bin arousal-only": at_all_layers("arousal-only"),
    }
    for layer in layers:
        table[single(layer)] = Condition(
            approach="valence-single-layer", layers=(layer,), strength=strength, source="true"
        )
    return table


def single(layer: int) -> str:
    """Name of valence-only steering at one layer."""
    return f"9-bin valence, layer {layer} only"


def strength_table(layer: int, strengths: Sequence[float]) -> dict[float, Condition]:
    """Valence-only steering at one layer by strength, for bins from true labels."""
    return {
        strength: Condition(
            approach="valence-single-layer", layers=(layer,), strength=strength, source="true"
        )
        for strength in strengths
    }
