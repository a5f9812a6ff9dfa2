"""A published experiment as it was: its agents, its protocol, and the figures it reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

Scores = Mapping[str, np.ndarray]
"""One number per seed, `[seeds]`, for every metric."""
Arm = Callable[..., Scores]
"""Runs one agent with these seeds, all of them together; numbers of episodes by keyword."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What the original reported of one agent."""

    published: float | None = None
    """Mean over seeds in its report; None if it has none."""
    rerun: float | None = None
    """Mean over seeds when its own code was run again; None if it was not, or does not run."""

    @property
    def reference(self) -> float | None:
        """What a faithful rebuilding should give: the rerun, or else what was published."""
        return self.published if self.rerun is None else self.rerun


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment of the original, defects included."""

    number: str
    """Number in the original, such as `1` or `6 V2`."""
    name: str
    """Name on the command line, such as `fear`."""
    env_id: str
    """The faithful environment."""
    seeds: int
    """Number of seeds in the original, with the numbers 0, 1, ..."""
    arms: Mapping[str, Arm]
    """Agents by the names that the original gives them, the baseline first, the emotional one
    second."""
    short: Mapping[str, int] = field(default_factory=dict)
    """Numbers of episodes for a run that only shows that it works, as keywords of the arms."""
    figures: Mapping[tuple[str, str], Figure]
    """Reported figures by arm and metric, the metric of the summary first."""
    note: str = ""
    """Where ours cannot be the same, and why; empty if nothing is known."""
