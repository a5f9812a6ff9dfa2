"""Rewards of other tools, which may be any number, as scores in [-1, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9
"""How far beyond -1 or 1 a sum of floats that should be there may be."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a reward becomes a score: `scale * reward + shift`, and then perhaps clipped."""

    scale: float = 1.0
    """Factor of the reward, not 0."""
    shift: float = 0.0
    """Added to it: `scale=2, shift=-1` maps [0, 1] to [-1, 1]."""
    clip: bool = False
    """Whether a score beyond -1 or 1 is cut off there; otherwise it is an error."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: If scale or shift is not finite, or the scale is 0.
        """
        if not (math.isfinite(self.scale) and self.scale):
            raise ValueError(f"scale must be a finite number other than 0, got {self.scale}")
        if not math.isfinite(self.shift):
            raise ValueError(f"shift must be a finite number, got {self.shift}")

    def score(self, reward: float) -> float:
        """The score of a reward, in [-1, 1].

        Raises:
            ValueError: If the reward is not finite, or the score out of range and not clipped.
        """
        score = self.scale * reward + self.shift
        if not math.isfinite(score):
            raise ValueError(f"the reward {reward} is no finite number")
        cut = min(1.0, max(-1.0, score))
        if not self.clip and abs(score - cut) > ROUNDING:
            raise ValueError(
                f"the reward {reward} makes a score of {score}, which is not in [-1, 1]; give "
                "scale= and shift= that map its range there, or clip=True"
            )
        return cut
