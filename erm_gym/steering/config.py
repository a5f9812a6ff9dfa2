"""What is steered, where and how strongly."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from erm_gym.llm.suggestion import suggest
from erm_gym.steering.binning import BINNINGS, COARSE
from erm_gym.steering.signals import MIN_SAMPLES

Approach = Literal["dual", "valence-only", "arousal-only", "valence-single-layer"]
PRESETS = {"conservative": 1.0, "balanced": 1.5, "peak": 2.0}
"""Strengths by name. Source: the steering finding."""
BREAKING = 5.0
"""Strength above which the finding's model breaks."""


class SteeringError(ValueError):
    """A setting of steering is unknown or out of range."""


@dataclass(frozen=True, kw_only=True)
class SteeringConfig:
    """Settings of steering by binned signals.

    >>> SteeringConfig.preset("peak").strength
    2.0
    """

    approach: Approach = "valence-only"
    """Pathways that steer; `valence-single-layer` also needs a single layer."""
    strength: float = 1.0
    """Factor of the modulation, at least 0; above 5 a warning is given."""
    binning: str = COARSE
    """`9-bin` or `25-bin`."""
    target_layers: tuple[int, ...] = (14, 16)
    """Numbers of the hidden layers that are steered."""
    min_samples: int = MIN_SAMPLES
    """Training texts that make the signal of a bin usable."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            SteeringError: It names the field, its value and what is allowed.
        """
        _require_known("approach", self.approach, get_args(Approach))
        _require_known("binning", self.binning, tuple(BINNINGS))
        if not 0.0 <= self.strength < math.inf:
            raise SteeringError(f"strength must be finite and at least 0, got {self.strength}")
        if self.strength > BREAKING:
            warnings.warn(
                f"a steering strength of {self.strength} is above {BREAKING}, from where on models "
                "were found to break",
                stacklevel=3,
            )
        layers = self.target_layers
        if not layers or len(set(layers)) != len(layers) or min(layers) < 0:
            raise SteeringError(
                f"target_layers must be different numbers of layers, at least one, got {layers}"
            )
        if self.approach == "valence-single-layer" and len(layers) != 1:
            raise SteeringError(
                f"the approach valence-single-layer needs one layer in target_layers, got {layers}"
            )
        if self.min_samples < 1:
            raise SteeringError(f"min_samples must be at least 1, got {self.min_samples}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Settings with the strength of a preset.

        Args:
            name: `conservative`, `balanced` or `peak`.
            **changes: Other fields.

        Raises:
            SteeringError: If there is no such preset or field.
        """
        _require_known("preset", name, tuple(PRESETS))
        for field in changes:
            _require_known("field", field, tuple(one.name for one in fields(cls)))
        return cls(**{"strength": PRESETS[name], **changes})


def masked(approach: Approach, signals: Tensor) -> Tensor:
    """Signals `[n, 2, 128]` with 0 in place of a pathway that an approach leaves out."""
    part = torch.tensor([approach != "arousal-only", approach in ("dual", "arousal-only")])
    return signals * part[:, None].to(signals)


def _require_known(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = suggest(value, allowed)
        raise SteeringError(
            f"unknown {field} {value!r}; it may be one of {', '.join(allowed)}; {hint}"
        )
