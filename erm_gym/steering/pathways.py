"""Affect pathways: valence and arousal of a text, read from a hidden state of a frozen LM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

EMBEDDING_SIZE = 512
SIGNAL_SIZE = 128
"""Width of the layers that steering signals are taken from."""
RIDGE = 0.0005
"""What is added to the variances of signals before they are made equal, as a share of the largest.
Our own choice: a path that predicts one number varies along one direction, in which the signals of
neighbouring bins correlate at .99. This is the largest of .005, .002, .001, .0005 and .0001 with
which all pairs of 9 and of 25 bins stay below .89, in fits of eight seeds that are not reported."""
DROPOUT = 0.3
"""Our own choice: the finding names none, and 6,000 sentences are few."""


class Affect(NamedTuple):
    """What the pathways make of n states."""

    ratings: Tensor
    """`[n, 2]` valence and arousal, standardised as the training ratings were."""
    signals: Tensor
    """`[n, 2, 128]` the last layer of each pathway, centred and whitened over training texts."""


class AffectPathways(nn.Module):
    """A shared embedding, and a path of three layers each for valence and arousal.

    `Linear(d, 512) - LayerNorm - ReLU`, then `Linear(512, 256) - ReLU - Linear(256, 128) - ReLU -
    Linear(128, 1)` for valence and again for arousal, with dropout before every layer but the last.

    Attributes:
        layer: Number of the hidden layer that is read.

    Source: sizes: the steering finding (the project's second seed document); LayerNorm and dropout
    are our own choice.
    """

    state_mean: Tensor
    state_sd: Tensor
    rating_mean: Tensor
    rating_sd: Tensor
    predicted_mean: Tensor
    predicted_sd: Tensor
    signal_centre: Tensor
    signal_map: Tensor

    def __init__(self, hidden_size: int, layer: int) -> None:
        """Makes untrained pathways.

        Args:
            hidden_size: Width d of the hidden states.
            layer: Number of the hidden layer that is read.
        """
        super().__init__()
        self.layer = layer
        self.shared = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(hidden_size, EMBEDDING_SIZE),
            nn.LayerNorm(EMBEDDING_SIZE),
            nn.ReLU(),
        )
        self.paths = nn.ModuleList(_path() for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(SIGNAL_SIZE, 1) for _ in range(2))
        for name, size in (("state", hidden_size), ("rating", 2), ("predicted", 2)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_sd", torch.ones(size))
        self.register_buffer("signal_centre", torch.zeros(2, SIGNAL_SIZE))
        self.register_buffer("signal_map", torch.eye(SIGNAL_SIZE).repeat(2, 1, 1))

    def forward(self, states: Tensor) -> Affect:
        """Reads texts.

        Args:
            states: `[n, d]` mean hidden state over each text's own tokens, in any precision and on
                any device.
        """
        scaled = (states.to(self.state_mean) - self.state_mean) / self.state_sd
        embedded = self.shared(scaled)  # [n, 512]
        activations = [path(embedded) for path in self.paths]
        ratings = [head(own)[:, 0] for head, own in zip(self.heads, activations, strict=True)]
        centred = torch.stack(activations, dim=1) - self.signal_centre  # [n, 2, 128]
        signals = torch.einsum("npj,pjk->npk", centred, self.signal_map)
        return Affect(torch.stack(ratings, dim=1), signals)

    @torch.no_grad()
    def whiten(self, states: Tensor) -> None:
        """Sets how signals are centred and whitened from now on.

        Each pathway's activations get the mean 0, and along each principal direction of variance v
        the factor `(v + RIDGE v_max)^-1/2`.

        Args:
            states: `[N, d]` of training texts.
        """
        self.signal_centre.zero_()
        self.signal_map.copy_(torch.eye(SIGNAL_SIZE).to(self.signal_map))
        activations = self(states).signals.double()  # [N, 2, 128]
        centre = activations.mean(dim=0)
        self.signal_centre.copy_(centre)
        for path in range(2):
            own = activations[:, path] - centre[path]
            variances, directions = torch.linalg.eigh(own.T @ own / len(own))
            factors = (variances.clamp(min=0.0) + RIDGE * variances[-1]).rsqrt()
            self.signal_map[path] = directions @ factors.diag() @ directions.T

    def standardised(self, ratings: Tensor) -> Tensor:
        """True ratings `[n, 2]` on their own scale, standardised."""
        return (ratings.to(self.rating_mean) - self.rating_mean) / self.rating_sd

    def spread(self, predicted: Tensor) -> Tensor:
        """Predicted ratings `[n, 2]`, standardised by how predictions spread over training texts.

        A regression predicts less than it was shown: with the thresholds of true ratings nearly all
        of its arousal would be moderate.
        """
        return (predicted.to(self.predicted_mean) - self.predicted_mean) / self.predicted_sd


def _path() -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(DROPOUT),
        nn.Linear(EMBEDDING_SIZE, 256),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(256, SIGNAL_SIZE),
        nn.ReLU(),
    )
