"""Predictions of a sweep in files, one per seed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from erm_gym.evaluation.config import RunError

PLAIN = "unsteered"
"""Name of the first pass among the conditions."""


class Predictions:
    """What one seed's head predicted, `[n, 2]` float32 for each condition, in one `.npz` file."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Reads what is there.

        Args:
            folder: Of the sweep.
            seed: Whose.

        Raises:
            RunError: If the file is damaged.
        """
        self._path = folder / f"predictions_{seed}.npz"
        self._kept: dict[str, np.ndarray] = {}
        if self._path.exists():
            try:
                with np.load(self._path) as file:
                    self._kept = dict(file)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise RunError(
                    f"{self._path} is damaged ({error}); delete it, and it is made again"
                ) from error

    @property
    def names(self) -> frozenset[str]:
        """Conditions that are there."""
        return frozenset(self._kept)

    def get(self, condition: str) -> np.ndarray:
        """The predictions `[n, 2]` of a condition.

        Raises:
            RunError: If they are not there.
        """
        if condition not in self._kept:
            raise RunError(f"{self._path} has no predictions for {condition!r}; sweep again")
        return self._kept[condition]

    def put(self, condition: str, predictions: np.ndarray) -> None:
        """Keeps predictions `[n, 2]`; the file is whole at any time.

        Raises:
            RunError: If it cannot be written.
        """
        self._kept[condition] = predictions.astype(np.float32)
        partial = self._path.with_suffix(".partial.npz")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(partial, **self._kept)  # type: ignore[arg-type]
            partial.replace(self._path)
        except OSError as error:
            raise RunError(f"cannot write {self._path}: {error.strerror}") from error
