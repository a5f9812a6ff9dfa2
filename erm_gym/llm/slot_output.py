"""What the LM says about rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch.nn import functional as F


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
    states: torch.Tensor
    """Hidden states `[n, T, L, d]` of the new positions at the layers that the slots were asked
    for; what stands behind the shorter rows means nothing."""
    counts: torch.Tensor
    """New positions of each row, `[n]` int64 on the CPU, at most T."""

    @property
    def mask(self) -> torch.Tensor:
        """Where `states` are of positions, `[n, T]` bool, on their device."""
        positions = torch.arange(self.states.shape[1]) < self.counts[:, None]
        return positions.to(self.states.device)

    def select(self, rows: torch.Tensor) -> SlotOutput:
        """The same of some rows, `[m]` int64 numbers of them."""
        return SlotOutput(
            logits=self.logits[rows],
            hidden=self.hidden[rows],
            last=self.last[rows],
            pooled=self.pooled[rows],
            states=self.states[rows],
            counts=self.counts[rows.cpu()],
        )

    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    @staticmethod
    def concatenate(outputs: Sequence[SlotOutput]) -> SlotOutput:
        """Several outputs as one, in order."""
        longest = max(output.states.shape[1] for output in outputs)
        whole = [replace(output, states=_longer(output.states, longest)) for output in outputs]
        return SlotOutput(
            **{
                field.name: torch.cat([getattr(output, field.name) for output in whole])
                for field in fields(SlotOutput)
            }
        )


def _longer(states: torch.Tensor, length: int) -> torch.Tensor:
    """States `[n, T, L, d]` with zeros behind them, so that T is `length`."""
    return F.pad(states, (0, 0, 0, 0, 0, length - states.shape[1]))
