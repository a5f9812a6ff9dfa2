"""How much people would like a reply, read off the frozen LM's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from erm_gym.feedback.episode import Episode
from erm_gym.feedback.episode_reading import reply_states
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, load_head
from erm_gym.feedback.reading import LONGEST_REPLY
from erm_gym.llm import FrozenLLM

NAME = "preference"
AGAIN = (
    "train one with scripts/train_preference.py --llm NAME --data PAIRS.jsonl --out FOLDER, or use "
    "another user"
)
"""What to do where there are no weights."""


class PreferenceHead(nn.Module):
    """The margin of a Bradley-Terry model: linear in the features of a reply.

    Features of a reply with hidden states h_1..h_T: their mean, and the last one, standardised with
    the training data's statistics.

    Source: Bradley and Terry 1952; the features are those of the stance judge.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_size: int) -> None:
        """Builds a head to which all replies are alike.

        Args:
            hidden_size: Width d of the frozen LM.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * hidden_size))
        self.register_buffer("std", torch.ones(2 * hidden_size))
        self.linear = nn.Linear(2 * hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @classmethod
    def for_llm(cls, llm: FrozenLLM, folder: Path | None = None) -> PreferenceHead:
        """The trained head that belongs to a frozen LM.

        Args:
            llm: The model whose hidden states it reads.
            folder: Where its file is; by default what comes with the package. The tiny test model
                gets seeded random weights, since nothing that it writes is good or bad.

        Raises:
            UserError: If there is none for this model, or its file is damaged.
        """
        head = cls(llm.hidden_size)
        if llm.name == "tiny" and folder is None:
            with torch.no_grad():
                head.linear.weight.normal_(0.0, 0.05, generator=torch.Generator().manual_seed(0))
        else:
            load_head(head, NAME, llm, folder or SHIPPED_WEIGHTS, again=AGAIN)
        return head.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Margins `[N]` of features `[N, 2 d]`, both float32."""
        margins: Tensor = self.linear((features - self.mean) / self.std)[:, 0]
        return margins

    @torch.no_grad()
    def margins(self, llm: FrozenLLM, episodes: Sequence[Episode]) -> np.ndarray:
        """Margins `[N]` float32 of finished replies; 0 is an ordinary reply."""
        features = torch.stack([mean_and_last(states) for states in reply_states(llm, episodes)])
        margins: np.ndarray = self(features).numpy()
        return margins

    def __call__(self, *args: Tensor) -> Tensor:  # typed, unlike Module.__call__
        """Same as `forward`."""
        margins: Tensor = super().__call__(*args)
        return margins


def mean_and_last(hidden: Tensor) -> Tensor:
    """Features of a reply: the mean of its states and the last one.

    Args:
        hidden: `[T, d]`, one state per token of the reply; only the first `LONGEST_REPLY` count.

    Returns:
        `[2 d]` float32; zeros for a reply without tokens.
    """
    read = hidden[:LONGEST_REPLY].float()  # [T, d]
    if not len(read):
        return read.new_zeros(2 * read.shape[1])
    return torch.cat([read.mean(dim=0), read[-1]])
