"""All rebuilt experiments, in the order of the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

FAIR: Mapping[str, tuple[str, str | None]] = {
    "feared-q": ("feared-q", None),
    "anger-q": ("anger-q", None),
    "regret-q": ("regret-q", None),
    "grief-q": ("grief-q", None),
    "conflict-q": ("conflict-q", None),
    "regulated-q": ("regulated-q", None),
    "integrated-q": ("integrated-q", None),
    "mood-q": ("mood-q", None),
    "disgust-q": ("disgust-q", None),
    "wanting-q": ("wanting-q", None),
    "transfer-feared-q": ("transfer-feared-q", None),
    "curiosity-q": ("curiosity-q", None),
    "surprise-q": ("surprise-q", None),
    "persistent-q": ("persistent-q", None),
    "visual-feared-q": ("visual-feared-q", None),
    "anxiety-q": ("anxiety-q", None),
    "patience-q": ("patience-q", None),
    "cvar-feared-q": ("cvar-feared-q", None),
    "feared-q-ring": ("feared-q", "ErmGym/FearRing-v1"),
    "anger-q-wall": ("anger-q", "ErmGym/BlockedWay-v1"),
}
"""Fair comparisons by name: an agent and the environment, None for that which it was made for."""
