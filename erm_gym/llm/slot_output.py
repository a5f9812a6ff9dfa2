"""What the LM says about rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True, kw_only=True)
class SlotOutput:
    """What the LM says at the last position of n rows."""

    logits: torch.Tensor
    """Next-token logits `[n, V]`, in the model's dtype."""
    hidden: torch.Tensor
    """Hidden states `[n, d]` at the layer that the critic reads, in the model's dtype."""
    last: torch.Tensor
    """Hidden states `[n, d]` that the LM head makes the logits from, in the model's dtype."""
    pooled: torch.Tensor
    """Mean hidden states `[n, d]` over the new positions: a prompt's content, or one token."""

    def select(self, rows: torch.Tensor) -> SlotOutput:
        """The same of some rows, `[m]` int64 numbers of them."""
        return SlotOutput(
            logits=self.logits[rows],
            hidden=self.hidden[rows],
            last=self.last[rows],
            pooled=self.pooled[rows],
        )

    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    @staticmethod
    def concatenate(outputs: Sequence[SlotOutput]) -> SlotOutput:
        """Several outputs as one, in order."""
        return SlotOutput(
            **{
                field.name: torch.cat([getattr(output, field.name) for output in outputs])
                for field in fields(SlotOutput)
            }
        )
