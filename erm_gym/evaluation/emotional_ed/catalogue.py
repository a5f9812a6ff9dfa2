"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import fear, pitch_black, predator_prey, slippery_cliff
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (
    fear.EXPERIMENT,
    pitch_black.EXPERIMENT,
    slippery_cliff.EXPERIMENT,
    predator_prey.EXPERIMENT,
)
"""Every experiment."""

FAIR: Sequence[str] = ("feared-q", "curiosity-q", "anxiety-q")
"""Agents of the fair comparisons, each in the environment that it was made for."""
