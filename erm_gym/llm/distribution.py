"""Next-token distributions of many rows: normalisers, and the likeliest tokens."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 128
"""Tokens whose largest logit is compared first, so that most of them are read only once. They stand
far apart, because a CPU finds the largest of many columns faster than of many neighbours."""
ROWS_AT_ONCE = 4
"""Rows whose float32 logits exist at one time: a few fit into the cache of a CPU core."""


def normalisers(logits: Tensor, temperature: float) -> Tensor:
    """What log-probabilities subtract from logits.

    Args:
        logits: `[n, V]` of any floating dtype.
        temperature: Temperature of the second distribution, > 0.

    Returns:
        `[n, 2]` float32: logsumexp of `logits`, and of `logits / temperature`. Not finite in a row
        whose logits are not.
    """
    return torch.cat([_normalisers(rows, temperature) for rows in logits.split(ROWS_AT_ONCE)])


def _normalisers(logits: Tensor, temperature: float) -> Tensor:
    centred = logits.float()  # [n, V]
    if centred is logits:
        centred = centred.clone()
    largest = centred.amax(dim=-1, keepdim=True)  # [n, 1]
    centred.sub_(largest)
    own = centred.exp().sum(dim=-1).log_() + largest[:, 0]
    scaled = centred.div_(temperature).exp_().sum(dim=-1).log_() + largest[:, 0] / temperature
    return torch.stack([own, scaled], dim=-1)


def likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest logits and their tokens, as `topk` gives them.

    They lie in the k groups whose largest logits are the largest; only these groups are sorted.

    Args:
        logits: `[n, V]` of any floating dtype.
        k: How many, in [1, V].

    Returns:
        Values `[n, k]` in descending order, and tokens `[n, k]` int64.
    """
    rows, vocabulary = logits.shape
    groups = vocabulary // GROUP
    if groups < 2 * k:
        values, tokens = logits.topk(k, dim=-1)
        return values, tokens
    split = groups * GROUP
    grouped = logits[:, :split].view(rows, GROUP, groups)  # token = place * groups + group
    best = grouped.amax(dim=1).topk(k, dim=-1).indices.sort(dim=-1).values  # [n, k]
    inside = grouped.gather(2, best[:, None].expand(-1, GROUP, -1)).flatten(1)  # [n, GROUP * k]
    pool = torch.cat([inside, logits[:, split:]], dim=-1)
    values, places = pool.topk(k, dim=-1)
    in_group = places // k * groups + best.gather(1, places % k)
    rest = places - GROUP * k + split
    return values, torch.where(places < GROUP * k, in_group, rest)
