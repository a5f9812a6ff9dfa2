"""What a learner sees of B rows before it chooses, and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Context = Mapping[str, np.ndarray]
"""What emotions look at: arrays `[B]`, or `[B, A]` where there is one value per action."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Where the rows are."""

    state: np.ndarray
    """`[B]` int, the number of each row's observation."""
    context: Context
    """What the environment tells emotions about these states."""
    last_action: np.ndarray
    """`[B]` int, what led here; -1 where an episode begins."""


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One step of every row."""

    before: Situation
    """Where the rows were."""
    action: np.ndarray
    """`[B]` int, what they did."""
    reward: np.ndarray
    """`[B]` float, of the environment."""
    after: Situation
    """Where they are now; at an end, the state that the episode ended in."""
    terminated: np.ndarray
    """`[B]` bool: nothing comes after."""
    value: np.ndarray
    """`[B]` float: what the learner expected of the action before it learned from it."""
    active: np.ndarray
    """`[B]` bool: rows that count; what the others do is not learned from or felt."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a learner would do."""

    action: np.ndarray
    """`[B]` int."""
    explored: np.ndarray
    """`[B]` bool, where it was chosen at random."""
    values: np.ndarray
    """`[B, A]`, by which the others were chosen."""
