"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import fear
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (fear.EXPERIMENT,)
"""Every experiment."""

FAIR: Sequence[str] = ("feared-q",)
"""Agents of the fair comparisons, each in the environment that it was made for."""
