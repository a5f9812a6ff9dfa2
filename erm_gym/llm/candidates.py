"""The likeliest next tokens of many rows, and how likely they are."""

from __future__ import annotations

from typing import NamedTuple

import torch

ROWS_AT_ONCE = 4
"""Rows of logits that a CPU works on at a time, so that what lies between stays in its cache."""


class Candidates(NamedTuple):
    """The k likeliest next tokens of n rows."""

    tokens: torch.Tensor
    """Token ids `[n, k]` int64, the likeliest first."""
    logits: torch.Tensor
    """Their logits `[n, k]` float32."""
    normaliser: torch.Tensor
    """Logsumexp `[n, 1]` float32 of all logits: less this, `logits` are log-probabilities."""
    tempered_normaliser: torch.Tensor
    """The same `[n, 1]` of all logits divided by the temperature."""


def likeliest_tokens(logits: torch.Tensor, k: int, temperature: float) -> Candidates:
    """The k likeliest next tokens, and what makes log-probabilities of their logits.

    Args:
        logits: `[n, V]` next-token logits, in any floating dtype, n >= 1.
        k: Number of candidates, at most V.
        temperature: > 0.
    """
    at_once = ROWS_AT_ONCE if logits.device.type == "cpu" else len(logits)
    pieces = [_of_piece(piece.float(), k, temperature) for piece in logits.split(at_once)]
    return Candidates(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))


def _of_piece(logits: torch.Tensor, k: int, temperature: float) -> Candidates:
    top, tokens = logits.topk(k, dim=-1)
    return Candidates(
        tokens=tokens,
        logits=top,
        normaliser=logits.logsumexp(dim=-1, keepdim=True),
        tempered_normaliser=(logits / temperature).logsumexp(dim=-1, keepdim=True),
    )
