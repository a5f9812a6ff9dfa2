"""The emotional signals: six named values on the last dimension of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EMOTIONS = ("fear", "curiosity", "anger", "joy", "anxiety", "confidence")
"""Order of the emotions on every tensor whose last dimension is 6. Anxiety is tonic fear."""


@dataclass(frozen=True, eq=False)
class EmotionalSignals:
    """Named view on emotional values; batched, differentiable, on whatever device they are.

    >>> signals = EmotionalSignals.zeros(2).with_(fear=torch.tensor([0.1, 0.9]))
    >>> signals.fear
    tensor([0.1000, 0.9000])
    >>> signals[1].as_dict()["joy"]
    0.0

    Source: emotional reward model (the project's seed document), EmotionalSignals.
    """

    tensor: Tensor
    """`[..., 6]` floating point, in the order of `EMOTIONS`, each in [0, 1]."""

    def __post_init__(self) -> None:
        if self.tensor.ndim == 0 or self.tensor.shape[-1] != len(EMOTIONS):
            raise ValueError(
                f"Emotional signals need a last dimension of {len(EMOTIONS)} {EMOTIONS}; "
                f"got a tensor of shape {tuple(self.tensor.shape)}."
            )

    @classmethod
    def zeros(cls, *batch: int, device: torch.device | str | None = None) -> EmotionalSignals:
        """Return signals of a calm mind.

        Args:
            batch: Leading dimensions; none gives one unbatched vector.
            device: Where the tensor lives.
        """
        return cls(torch.zeros(*batch, len(EMOTIONS), device=device))

    @classmethod
    def stack(cls, signals: Sequence[EmotionalSignals], dim: int = 0) -> EmotionalSignals:
        """Stack signals of equal shapes along a new batch dimension.

        Args:
            signals: At least one.
            dim: Where the new dimension goes; a negative one counts from the emotions' own, so
                -2 is the last batch dimension.
        """
        return cls(torch.stack([each.tensor for each in signals], dim))

    @property
    def fear(self) -> Tensor:
        """Fear `[...]`."""
        return self.tensor[..., 0]

    @property
    def curiosity(self) -> Tensor:
        """Curiosity `[...]`."""
        return self.tensor[..., 1]

    @property
    def anger(self) -> Tensor:
        """Anger `[...]`."""
        return self.tensor[..., 2]

    @property
    def joy(self) -> Tensor:
        """Joy `[...]`."""
        return self.tensor[..., 3]

    @property
    def anxiety(self) -> Tensor:
        """Anxiety, that is tonic fear, `[...]`."""
        return self.tensor[..., 4]

    @property
    def confidence(self) -> Tensor:
        """Confidence `[...]`."""
        return self.tensor[..., 5]

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor, the six included."""
        return self.tensor.shape

    def __getitem__(self, index: Any) -> EmotionalSignals:
        """Index the batch dimensions; the six emotions stay together."""
        return EmotionalSignals(self.tensor[index])

    def with_(self, **values: Tensor | float) -> EmotionalSignals:
        """Return signals in which the named emotions are replaced.

        Args:
            values: For each emotion to replace, a number or a tensor broadcastable to `[...]`.

        Raises:
            ValueError: A name is not one of `EMOTIONS`.
        """
        unknown = sorted(set(values) - set(EMOTIONS))
        if unknown:
            raise ValueError(f"Unknown emotion {unknown[0]!r}; choose from {EMOTIONS}.")
        columns = list(self.tensor.unbind(-1))
        for name, value in values.items():
            old = columns[EMOTIONS.index(name)]
            columns[EMOTIONS.index(name)] = torch.as_tensor(value).to(old).expand_as(old)
        return EmotionalSignals(torch.stack(columns, -1))

    def clamp(self) -> EmotionalSignals:
        """Return the signals limited to [0, 1]."""
        return EmotionalSignals(self.tensor.clamp(0.0, 1.0))

    def detach(self) -> EmotionalSignals:
        """Return the signals cut off from the autograd graph."""
        return EmotionalSignals(self.tensor.detach())

    def to(self, device: torch.device | str) -> EmotionalSignals:
        """Return the signals on another device."""
        return EmotionalSignals(self.tensor.to(device))

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers by name, for logs and tables (copies to the host).

        Returns:
            A float per emotion for unbatched signals, nested lists of floats for batched ones.
        """
        columns = self.tensor.detach().unbind(-1)
        return {name: column.tolist() for name, column in zip(EMOTIONS, columns, strict=True)}


def signals_tensor(signals: EmotionalSignals | Tensor) -> Tensor:
    """Return the `[..., 6]` tensor of signals given either way, with its last dimension checked."""
    return (
        signals.tensor
        if isinstance(signals, EmotionalSignals)
        else EmotionalSignals(signals).tensor
    )
