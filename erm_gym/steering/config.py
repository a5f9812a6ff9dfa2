"""What is steered, where and how strongly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from erm_gym.llm.suggestion import nearest
from erm_gym.steering.binning import BINNINGS, COARSE
from erm_gym.steering.signals import MIN_SAMPLES, SteeringSignals

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
        require_known("approach", self.approach, get_args(Approach))
        require_known("binning", self.binning, tuple(BINNINGS))
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
        require_known("preset", name, tuple(PRESETS))
        for field in changes:
            require_known("field", field, tuple(one.name for one in fields(cls)))
        return cls(**{"strength": PRESETS[name], **changes})


def choose_signals(config: SteeringConfig, signals: SteeringSignals, bins: Tensor) -> Tensor:
    """What each text is steered by.

    Args:
        config: Pathways that steer, and texts that make a bin usable.
        signals: Of the bins of the config's grid.
        bins: `[n]` int64 of n texts.

    Returns:
        `[n, 2, 128]`, 0 in place of a pathway that is left out, and of a bin that is not usable.
    """
    steers = [config.approach != "arousal-only", config.approach in ("dual", "arousal-only")]
    own = replace(signals, min_samples=config.min_samples).of(bins)
    return own * torch.tensor(steers)[:, None]


def require_known(field: str, value: str, allowed: Sequence[str]) -> None:
    """Checks a name.

    Raises:
        SteeringError: If it is none of those that are allowed; it lists them.
    """
    if value not in allowed:
        listed = ("; " if any("," in one for one in allowed) else ", ").join(allowed)
        close = nearest(value, allowed)
        hint = f"; did you mean {close!r}?" if close else ""
        raise SteeringError(f"unknown {field} {value!r}; it may be one of {listed}{hint}")
