"""Texts with and without an emotion, from labelled ones, for contrastive directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import ADAPTERS, has_any

STEERED = ("fear", "joy", "curiosity", "anger")
"""Emotions that have a direction by default."""
Contrast = Mapping[str, tuple[Sequence[str], Sequence[str]]]


def contrasts(
    data: LabelledTexts, emotions: Sequence[str] = STEERED, *, texts: int = 500, seed: int = 0
) -> Contrast:
    """For each emotion, texts that people gave it to and texts that they did not.

    Args:
        data: Texts with 28 labels.
        emotions: Names of emotions of the critic.
        texts: Most texts of either kind.
        seed: Of which are taken.

    Raises:
        ValueError: If there is no such emotion, or no texts with it.
    """
    signs = {adapter.emotion: adapter.signs for adapter in ADAPTERS}
    rng = np.random.default_rng(seed)
    found = {}
    for emotion in emotions:
        if emotion not in signs:
            raise ValueError(f"unknown emotion {emotion!r}; there are {', '.join(signs)}")
        has = has_any(data.values, signs[emotion]).numpy().astype(bool)
        sides = [rng.permutation(np.flatnonzero(own))[:texts] for own in (has, ~has)]
        if not all(len(rows) for rows in sides):
            raise ValueError(f"{data.source} has no texts with {emotion}, or none without")
        found[emotion] = tuple([data.texts[row] for row in rows] for rows in sides)
    return found  # type: ignore[return-value]
