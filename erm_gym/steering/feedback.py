"""Feedback connections: from the affect pathways' 128-d layers back into transformer blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from erm_gym.llm.edits import Edit

Mode = Literal["multiplicative", "additive"]
"""How a modulation m changes a state h: `h (1 + m)`, or `h + sd m`."""
PATHWAYS = ("valence", "arousal")
"""The pathways, in the order in which signals are stacked."""
FIRST_GATE = 0.1
"""A gate before training: nearly closed, but open enough for its projection to learn."""


class FeedbackConnections(nn.Module):
    """A gated projection of each pathway's signal into each steered layer.

    The modulation of a layer is `m = sum over pathways of g tanh(P s)`, with a signal s `[128]`, a
    projection P `[d, 128]` without bias and a gate g. So no signal means no change, and a gate
    bounds what its pathway can do at strength 1.

    Attributes:
        layers: Numbers of the steered hidden layers.
        mode: How the modulation acts.
        errors: `[2]` mean squared error of standardised ratings on texts that were held out from
            training, at the first pass and at a second one that is steered; nan if not trained.

    Source: the steering finding (the project's second seed document) modulates convolution blocks
    by such feedback; tanh and the standard deviation in the additive form are our own choice.
    """

    deviations: Tensor
    errors: Tensor

    def __init__(
        self,
        hidden_size: int,
        layers: Sequence[int],
        *,
        signal_size: int = 128,
        mode: Mode = "multiplicative",
        seed: int = 0,
    ) -> None:
        """Makes untrained connections.

        Args:
            hidden_size: Width d of the hidden states.
            layers: Numbers of the hidden layers that are steered, at least one, all different.
            signal_size: Width of the pathways' last layers.
            mode: How the modulation acts.
            seed: Of the first weights.

        Raises:
            ValueError: As `check_connections`.
        """
        super().__init__()
        check_connections(layers, mode)
        self.layers = tuple(layers)
        self.mode: Mode = mode
        generator = torch.Generator().manual_seed(seed)
        shape = (len(self.layers), len(PATHWAYS), hidden_size, signal_size)
        first = torch.randn(shape, generator=generator) / signal_size**0.5
        self.projections = nn.Parameter(first)  # [L, 2, d, 128]
        self.gates = nn.Parameter(torch.full(shape[:2], FIRST_GATE))  # [L, 2]
        self.register_buffer("deviations", torch.ones(len(self.layers), hidden_size))
        self.register_buffer("errors", torch.full((2,), torch.nan))

    def modulation(self, layer: int, signals: Tensor) -> Tensor:
        """What a layer's states are modulated by, at strength 1.

        Args:
            layer: Number of a steered layer.
            signals: `[n, 2, 128]` of valence and arousal; zeros where a pathway does not steer.

        Returns:
            `[n, d]` float32.

        Raises:
            ValueError: If the layer is not steered, or a signal is not finite.
        """
        if layer not in self.layers:
            raise ValueError(f"layer {layer} has no feedback; layers {self.layers} have")
        if not bool(torch.isfinite(signals).all()):
            raise ValueError("a steering signal is not finite")
        place = self.layers.index(layer)
        projected = torch.einsum("npk,pdk->npd", signals, self.projections[place])
        return (self.gates[place][:, None] * torch.tanh(projected)).sum(dim=1)

    def edit(self, layer: int, signals: Tensor, strength: Tensor) -> Edit:
        """What changes a layer's states.

        Args:
            layer: Number of a steered layer.
            signals: `[n, 2, 128]` of n rows; each row has its own.
            strength: `[n]` factor of the modulation; 0 changes nothing.

        Returns:
            Maps hidden states `[n, t, d]` to steered ones, on whatever device they are.
        """
        own = self.projections.device
        modulation = self.modulation(layer, signals.to(own))
        scaled = (strength.to(own)[:, None] * modulation)[:, None]  # [n, 1, d]
        if self.mode == "multiplicative":
            return lambda states: states * (1.0 + scaled).to(states)
        offset = scaled * self.deviations[self.layers.index(layer)]
        return lambda states: states + offset.to(states)


def check_connections(layers: Sequence[int], mode: str) -> None:
    """Checks where connections lead to, and how.

    Raises:
        ValueError: If the layers are none, twice the same or no block's, or the mode is unknown.
    """
    if not layers or len(set(layers)) != len(layers) or min(layers) < 1:
        raise ValueError(f"layers must be different numbers from 1 on, at least one, got {layers}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {get_args(Mode)}, got {mode!r}")
