"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.evaluation.emotional_ed import (
    anger,
    bottleneck,
    failure_modes,
    fear,
    integration,
    pitch_black,
    predator_prey,
    shaping,
    slippery_cliff,
    transfer,
    visual_transfer,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment

EXPERIMENTS: Sequence[Experiment] = (
    fear.EXPERIMENT,
    anger.EXPERIMENT,
    integration.EXPERIMENT,
    transfer.EXPERIMENT,
    shaping.EXPERIMENT,
    shaping.FURTHER,
    failure_modes.FEAR,
    failure_modes.ANGER,
    failure_modes.CONFLICT,
    pitch_black.EXPERIMENT,
    slippery_cliff.EXPERIMENT,
    bottleneck.EXPERIMENT,
    visual_transfer.EXPERIMENT,
    predator_prey.EXPERIMENT,
)
"""Every experiment."""

FAIR: Sequence[str] = (
    "feared-q",
    "anger-q",
    "integrated-q",
    "transfer-feared-q",
    "curiosity-q",
    "persistent-q",
    "visual-feared-q",
    "anxiety-q",
)
"""Agents of the fair comparisons, each in the environment that it was made for."""
