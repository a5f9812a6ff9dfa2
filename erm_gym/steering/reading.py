"""Rated texts as hidden states: what pathways and feedback connections learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from erm_gym.steering.upper import LowerStates, UpperLayers

FEEDBACK_SHARE = 0.25
"""Share of the training texts that the feedback connections learn from, and the pathways do not."""
LEAST_TEXTS = 20
"""Texts that the pathways need."""
CHUNK = 512
"""Texts that are read at a time."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class RatedStates:
    """Rated texts that were read, as far as they are the same for all seeds.

    The texts that the feedback connections learn from are kept from the pathways, which would be
    too sure of them for steering to learn anything. They are drawn once for all; the order of a
    file, which may go by source, is no matter.
    """

    upper: UpperLayers
    """From the first layer that is steered to the one that is read."""
    states: Tensor
    """`[N, d]` float32 mean states of the pathways' texts at the layer that is read."""
    ratings: Tensor
    """`[N, 2]` their valence and arousal."""
    lower: LowerStates
    """Of the M texts that the feedback connections learn from, at the first steered layer."""
    lower_ratings: Tensor
    """`[M, 2]`."""

    @classmethod
    def read(
        cls,
        upper: UpperLayers,
        texts: Sequence[str],
        ratings: Tensor,
        *,
        feedback_share: float = FEEDBACK_SHARE,
        progress: Progress = lambda done, total: None,
    ) -> Self:
        """Reads texts.

        Args:
            upper: The layers.
            texts: Rated texts.
            ratings: `[texts, 2]` their valence and arousal.
            feedback_share: Share of them that the feedback connections learn from, above 0 and
                below 1.
            progress: Told how many of the pathways' texts are read, of how many.

        Raises:
            ValueError: As `split_texts`, and if texts and ratings differ in number, or a text is
                empty.
        """
        if len(texts) != len(ratings):
            raise ValueError(f"there are {len(texts)} texts and {len(ratings)} ratings")
        kept, others = split_texts(len(texts), feedback_share)
        return cls(
            upper=upper,
            states=read_states(upper, [texts[row] for row in others], progress),
            ratings=ratings[others],
            lower=upper.read([texts[row] for row in kept]),
            lower_ratings=ratings[kept],
        )


def split_texts(count: int, share: float) -> tuple[list[int], list[int]]:
    """Numbers of the texts that the feedback connections learn from, and of the pathways' ones.

    Args:
        count: Of all texts.
        share: Of the feedback connections, above 0 and below 1.

    Raises:
        ValueError: If the share is out of range, or either gets too few texts.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"feedback_share must be above 0 and below 1, got {share}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    first = round(share * count)
    if not first or count - first < LEAST_TEXTS:
        raise ValueError(
            f"of {count} rated texts {count - first} are the pathways' and {first} the feedback "
            f"connections'; they need {LEAST_TEXTS} and 1 at least"
        )
    kept, others = (part.sort()[0].tolist() for part in (order[:first], order[first:]))
    return kept, others


@torch.no_grad()
def mean_states(upper: UpperLayers, lower: LowerStates) -> Tensor:
    """Unsteered mean states of texts at `upper.last`, `[N, d]` float32 on the CPU."""
    states = torch.empty(len(lower.rows), lower.rows[0].shape[1])
    for rows in lower.batches():
        states[rows] = upper.pooled(lower, rows, {}).float().cpu()
    return states


def read_states(upper: UpperLayers, texts: Sequence[str], progress: Progress) -> Tensor:
    """Unsteered mean states `[N, d]` of texts, some at a time.

    Args:
        upper: The layers.
        texts: N texts.
        progress: Told how many are read, of how many.
    """
    found = []
    for start in range(0, len(texts), CHUNK):
        found.append(mean_states(upper, upper.read(texts[start : start + CHUNK])))
        progress(min(start + CHUNK, len(texts)), len(texts))
    return torch.cat(found)
