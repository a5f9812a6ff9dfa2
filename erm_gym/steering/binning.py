"""Bins of valence and arousal, from which steering signals are averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COARSE, FINE = "9-bin", "25-bin"
THRESHOLD = 0.3
"""Border of the middle part of a scale. Source: the steering finding."""
OUTER = 1.0
"""Further border of the fine grid; our own choice."""


@dataclass(frozen=True, kw_only=True)
class Binning:
    """A grid over standardised valence and arousal; `grids` makes the two of the finding.

    >>> BINNINGS["9-bin"].of(torch.tensor([[-1.0, 0.3], [0.31, -2.0]])).tolist()
    [1, 6]
    >>> [BINNINGS["9-bin"].labels[number] for number in (1, 6)]
    ['negative, moderate', 'positive, weak']
    """

    name: str
    """What settings and files call it."""
    thresholds: tuple[float, ...]
    """Borders between the parts of a scale, rising, in standard deviations. A value on a border
    belongs to the part below it."""
    valences: tuple[str, ...]
    """Names of the parts of valence, one more than there are borders."""
    arousals: tuple[str, ...]
    """Names of the parts of arousal."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: If borders do not rise, or names and borders differ in number.
        """
        if list(self.thresholds) != sorted(set(self.thresholds)) or not all(
            map(math.isfinite, self.thresholds)
        ):
            raise ValueError(f"thresholds must be finite and rise, got {self.thresholds}")
        parts = len(self.thresholds) + 1
        if not len(self.valences) == len(self.arousals) == parts:
            raise ValueError(f"{parts - 1} thresholds need {parts} names each")

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.valences) * len(self.arousals)

    @property
    def labels(self) -> list[str]:
        """What each bin is called."""
        return [f"{valence}, {arousal}" for valence in self.valences for arousal in self.arousals]

    def of(self, ratings: Tensor) -> Tensor:
        """The bin of each text.

        Args:
            ratings: `[n, 2]` valence and arousal, standardised.

        Returns:
            `[n]` int64 in [0, bins).

        Raises:
            ValueError: If a rating is not finite.
        """
        if not bool(torch.isfinite(ratings).all()):
            raise ValueError("a rating is not finite, and belongs to no bin")
        borders = torch.tensor(
            self.thresholds, dtype=ratings.dtype
        )  # 0.3 is another one in float64
        parts = torch.bucketize(ratings.cpu(), borders)  # [n, 2]
        return parts[:, 0] * len(self.arousals) + parts[:, 1]


def grids(threshold: float = THRESHOLD) -> dict[str, Binning]:
    """The two grids of the finding by name, coarse and fine.

    Args:
        threshold: Border of the middle part, in standard deviations, above 0 and below `OUTER`.

    Raises:
        ValueError: If it is out of range.
    """
    if not 0.0 < threshold < OUTER:
        raise ValueError(f"threshold must be above 0 and below {OUTER}, got {threshold}")
    coarse = Binning(
        name=COARSE,
        thresholds=(-threshold, threshold),
        valences=("negative", "neutral", "positive"),
        arousals=("weak", "moderate", "strong"),
    )
    fine = Binning(
        name=FINE,
        thresholds=(-OUTER, -threshold, threshold, OUTER),
        valences=("very negative", "negative", "neutral", "positive", "very positive"),
        arousals=("very weak", "weak", "moderate", "strong", "very strong"),
    )
    return {grid.name: grid for grid in (coarse, fine)}


BINNINGS = grids()
"""The grids with the finding's own thresholds."""
