"""Weights that may learn, but move no further than they are let."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BoundedWeights:
    """Parameters that are kept near a copy of themselves. Distances are relative to their norm.

    >>> layer = nn.Linear(3, 1)
    >>> weights = BoundedWeights(list(layer.parameters()))
    >>> with torch.no_grad():
    ...     layer.weight += 100.0
    >>> weights.keep_near(weights.start, 0.5)
    >>> round(weights.distance(weights.start), 3)
    0.5

    Attributes:
        parameters: The parameters, which need gradients from now on.
        start: `[N]` their values when this was made.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        """Copy the present values.

        Args:
            parameters: Parameters on one device.
        """
        for parameter in parameters:
            parameter.requires_grad_(True)
        self.parameters = parameters
        self.start = self.copy()
        self._norm = max(float(self.start.norm()), 1e-6)

    def copy(self) -> Tensor:
        """Return all values as one vector `[N]`."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])

    @torch.no_grad()
    def set(self, values: Tensor) -> None:
        """Take over the values `[N]` of a copy, bit for bit."""
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, own in zip(self.parameters, values.split(sizes), strict=True):
            parameter.copy_(own.view_as(parameter))

    def distance(self, centre: Tensor) -> float:
        """Return how far the values are from a copy `[N]`, relative to the norm of `start`."""
        return float((self.copy() - centre).norm()) / self._norm

    def keep_near(self, centre: Tensor, radius: float) -> None:
        """Pull the values straight back to a distance from a copy, if they are further away.

        Args:
            centre: `[N]` the copy.
            radius: The largest distance.
        """
        distance = self.distance(centre)
        if distance > radius:
            self.set(centre + (self.copy() - centre) * (radius / distance))
