"""Unfinished work on disk, so that a kill costs one epoch and not all of them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return what was kept, on the CPU, or None if there is nothing that can be read.

    Args:
        path: File of `write_checkpoint`. One that is damaged is as good as none.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what torn bytes mean to an unpickler is anybody's guess
        return None
    return kept if isinstance(kept, dict) else None


def write_checkpoint(path: Path, kept: dict[str, Any]) -> None:
    """Keep tensors and plain values; the file is whole or the one before it.

    If it cannot be written, say because the disk is full, a warning says so and the work goes on.

    Args:
        path: Its folder is made.
        kept: What `torch.load` reads with `weights_only`.
    """
    draft = path.with_suffix(".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept, draft)
        os.replace(draft, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the second
        draft.unlink(missing_ok=True)
        warnings.warn(
            f"{path} could not be written: {error}; a kill would cost the training", stacklevel=2
        )
