"""What a reset of a vector environment may ask for, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from erm_gym.envs.text.options import is_whole


def row_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """A seed or None for each of B rows.

    Args:
        seed: Row i gets `seed + i`, or the i-th of a list; None for all of them if None.
        num_envs: Number B of rows.

    Raises:
        ValueError: If a list has another length, or a seed is no whole number of at least 0.
    """
    if seed is None:
        return [None] * num_envs
    if is_whole(seed, 0):
        return [int(seed) + row for row in range(num_envs)]  # type: ignore[arg-type]
    values = list(seed) if isinstance(seed, (Sequence, np.ndarray)) else [seed]
    wrong = [value for value in values if value is not None and not is_whole(value, 0)]
    if wrong:
        raise ValueError(f"a seed must be a whole number, at least 0, got {wrong[0]!r}")
    if len(values) != num_envs:
        raise ValueError(f"a list of seeds needs one per row, {num_envs}, got {len(values)}")
    return [None if value is None else int(value) for value in values]


def rows_to_reset(
    options: dict[str, Any] | None,
    seeds: Sequence[int | None],
    done: np.ndarray,
    *,
    started: bool,
) -> np.ndarray:
    """Which rows a reset names, `[B]` bool.

    Args:
        options: The options of the reset; `reset_mask` names rows, without it all are meant.
        seeds: Seed of every row, or None.
        done: `[B]` bool, rows that have finished.
        started: Whether the environment was ever reset.

    Raises:
        ValueError: If the mask has another shape or type, no row in it, or a row that is still
            writing and gets no seed; or if the first reset is not of all rows.
    """
    unknown = sorted(set(options or {}) - {"reset_mask"})
    if unknown:
        raise ValueError(f"unknown reset option {unknown[0]!r}; there is 'reset_mask' only")
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(len(done), bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != done.shape:
        raise ValueError(f"reset_mask must be a bool array of shape ({len(done)},)")
    if not mask.any():
        raise ValueError("reset_mask must name at least one row")
    if not started and not mask.all():
        raise ValueError("the first reset must be of all rows")
    unseeded = np.array([seed is None for seed in seeds])
    running = mask & unseeded & ~done
    if running.any() and not mask.all():
        raise ValueError(
            f"row {int(running.argmax())} is still writing: step it to its end, give it a seed to "
            "begin anew, or reset all rows"
        )
    return mask
