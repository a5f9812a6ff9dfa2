"""What is learned from, and what is held out."""

from __future__ import annotations

import numpy as np


def split_rows(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of texts to learn from and of held-out ones, sorted.

    Args:
        count: N texts.
        share: Share that is held out; at least one text is, and one is not.
        seed: Decides which.

    Raises:
        ValueError: If there are fewer than two texts.
    """
    if count < 2:
        raise ValueError(f"{count} texts cannot be split into training and validation")
    held_out = min(max(1, round(share * count)), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
