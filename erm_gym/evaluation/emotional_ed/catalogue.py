"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import (
    anger,
    battery_run,
    bottleneck,
    failure_modes,
    fear,
    integration,
    pitch_black,
    predator_prey,
    shaping,
    slippery_cliff,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (
    fear.EXPERIMENT,
    anger.EXPERIMENT,
    integration.EXPERIMENT,
    shaping.EXPERIMENT,
    shaping.FURTHER,
    failure_modes.FEAR,
    failure_modes.ANGER,
    failure_modes.CONFLICT,
    pitch_black.EXPERIMENT,
    slippery_cliff.EXPERIMENT,
    bottleneck.EXPERIMENT,
    predator_prey.EXPERIMENT,
    battery_run.EXPERIMENT,
)
"""Every experiment."""

FAIR: Sequence[str] = (
    "feared-q",
    "anger-q",
    "integrated-q",
    "curiosity-q",
    "persistent-q",
    "anxiety-q",
    "patience-q",
)
"""Agents of the fair comparisons, each in the environment that it was made for."""
