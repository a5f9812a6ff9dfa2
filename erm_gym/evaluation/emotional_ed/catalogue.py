"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import (
    anger,
    battery_run,
    bottleneck,
    conflict,
    cvar_fear,
    failure_modes,
    fear,
    integration,
    pitch_black,
    predator_prey,
    shaping,
    slippery_cliff,
    temporal,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (
    fear.EXPERIMENT,
    anger.EXPERIMENT,
    conflict.EXPERIMENT,
    integration.EXPERIMENT,
    temporal.EXPERIMENT,
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
    cvar_fear.EXPERIMENT,
)
"""Every experiment."""

FAIR: Sequence[str] = (
    "feared-q",
    "anger-q",
    "conflict-q",
    "integrated-q",
    "mood-q",
    "curiosity-q",
    "persistent-q",
    "anxiety-q",
    "patience-q",
    "cvar-feared-q",
)
"""Agents of the fair comparisons, each in the environment that it was made for."""
