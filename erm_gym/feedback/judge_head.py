"""What the stance judge computes: features of a reply's hidden states, and the head on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LONGEST_JUDGED = 128
"""Tokens of a reply that the judge reads; what comes after them it does not see."""
OPENING = 24
"""Tokens that count as the opening of a reply: there most chat models say whether they comply."""
FEATURES = 3
"""Number of pooled hidden states that make up the features of a reply."""
WIDTH = 80
INPUT_DROPOUT = 0.5
DROPOUT = 0.2


class StanceHead(nn.Module):
    """A few small networks that vote: the mean of their logits.

    Attributes:
        hidden_size: Width d of the hidden states.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_size: int, stances: int, members: int = 1) -> None:
        """Builds an untrained head.

        Args:
            hidden_size: Width d of the frozen LM.
            stances: Number S of outputs.
            members: Number of networks; each starts from weights of its own.
        """
        super().__init__()
        self.hidden_size = hidden_size
        width = FEATURES * hidden_size
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(INPUT_DROPOUT),
                nn.Linear(width, WIDTH),
                nn.ReLU(),
                nn.Dropout(DROPOUT),
                nn.Linear(WIDTH, stances),
            )
            for _ in range(members)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the stances.

        Args:
            features: `[N, FEATURES d]` float32, see `pool_reply`.

        Returns:
            `[N, S]` logits, the mean over the members.
        """
        standard = (features - self.mean) / self.std
        return torch.stack([member(standard) for member in self.members]).mean(dim=0)

    def __call__(self, features: Tensor) -> Tensor:  # typed, unlike Module.__call__
        """Same as `forward`."""
        logits: Tensor = super().__call__(features)
        return logits


def pool_reply(hidden: Tensor) -> Tensor:
    """Features of a reply from the hidden states of one layer.

    Args:
        hidden: `[T, d]`, one state per token of the reply; only the first `LONGEST_JUDGED` count.

    Returns:
        `[3 d]` float32: the mean of all states, the last one, and the mean of the opening. Zeros
        for a reply without tokens. Source: our own.
    """
    read = hidden[:LONGEST_JUDGED].float()  # [T, d]
    if not len(read):
        return read.new_zeros(FEATURES * read.shape[1])
    return torch.cat([read.mean(dim=0), read[-1], read[:OPENING].mean(dim=0)])
