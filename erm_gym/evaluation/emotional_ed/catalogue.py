"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import (
    anger,
    battery_run,
    bottleneck,
    conflict,
    cvar_fear,
    disgust,
    failure_modes,
    fear,
    grief,
    integration,
    pitch_black,
    predator_prey,
    regret,
    regulation,
    seasons,
    shaping,
    slippery_cliff,
    temporal,
    transfer,
    visual_transfer,
    wanting,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (
    fear.EXPERIMENT,
    anger.EXPERIMENT,
    regret.EXPERIMENT,
    grief.EXPERIMENT,
    grief.STATISTICS,
    conflict.EXPERIMENT,
    regulation.DEMONSTRATION,
    regulation.STATISTICS,
    regulation.SECOND,
    integration.EXPERIMENT,
    temporal.EXPERIMENT,
    disgust.FIRST,
    disgust.EXPERIMENT,
    wanting.EXPERIMENT,
    transfer.EXPERIMENT,
    shaping.EXPERIMENT,
    shaping.FURTHER,
    failure_modes.FEAR,
    failure_modes.ANGER,
    failure_modes.CONFLICT,
    pitch_black.EXPERIMENT,
    slippery_cliff.EXPERIMENT,
    seasons.EXPERIMENT,
    bottleneck.EXPERIMENT,
    visual_transfer.EXPERIMENT,
    predator_prey.EXPERIMENT,
    battery_run.EXPERIMENT,
    cvar_fear.EXPERIMENT,
)
"""Every experiment."""

FAIR: Sequence[str] = (
    "feared-q",
    "anger-q",
    "regret-q",
    "grief-q",
    "conflict-q",
    "regulated-q",
    "integrated-q",
    "mood-q",
    "disgust-q",
    "wanting-q",
    "transfer-feared-q",
    "curiosity-q",
    "surprise-q",
    "persistent-q",
    "visual-feared-q",
    "anxiety-q",
    "patience-q",
    "cvar-feared-q",
)
"""Agents of the fair comparisons, each in the environment that it was made for."""
