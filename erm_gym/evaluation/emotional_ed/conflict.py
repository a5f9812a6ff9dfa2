"""Experiment 5: approach and avoidance of a reward beside a threat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, Transition
from erm_gym.agents.emotional_ed.conflict import NoisyValues, Standoff, Weighed
from erm_gym.agents.emotional_ed.forms import Exploration, LearningGain, RankPreserving
from erm_gym.evaluation.emotional_ed.experiment import Arm, Experiment, Figure
from erm_gym.evaluation.emotional_ed.protocols import evaluated_means

ENV_ID = "ErmGym/Conflict-v0"


def more_from_losses(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + n` where an outcome is worse than expected, with the fear's surplus n."""
    return np.where(error < 0.0, 1.0 + level, 1.0)


def more_from_gains(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + n` where an outcome is better than expected, with the pull's surplus n."""
    return np.where(error > 0.0, 1.0 + level, 1.0)


def less(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 - .3 c` where c > .3."""
    return np.where(level > 0.3, 1.0 - 0.3 * level, 1.0)


def fear_dominant() -> list[Channel]:
    """Form A with the fear, and more learned from losses."""
    return [
        Channel(Weighed(fear=1.0, pull=0.0), [RankPreserving()]),
        Channel(Weighed(fear=1.0, pull=-0.3), [LearningGain(more_from_losses)]),
    ]


def no_noise() -> list[Channel]:
    """More learned from gains, and nothing else."""
    return [Channel(Weighed(fear=-0.3, pull=1.0), [LearningGain(more_from_gains)])]


def approach_dominant() -> list[Channel]:
    """More learned from gains, and values that are noisy where the reward pulls."""
    return [Channel(Weighed(fear=0.0, pull=1.0), [NoisyValues()]), *no_noise()]


def balanced() -> list[Channel]:
    """More exploration and less learning where fear and pull meet."""
    influences = (Exploration(0.3, ceiling=0.5, threshold=0.3), LearningGain(less))
    return [Channel(Standoff(), influences)]


run = partial(evaluated_means, ENV_ID, ("risky", "safe_first", "risky_first", "near", "return"))


def _arm(channels: Callable[[], Sequence[Channel]]) -> Arm:
    return partial(run, channels=channels)


EXPERIMENT = Experiment(
    number="5",
    name="conflict",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "fear-dominant": _arm(fear_dominant),
        "approach-dominant": _arm(approach_dominant),
        "balanced": _arm(balanced),
        "no-noise": _arm(no_noise),
        "standard": _arm(list),
    },
    short={"train": 5, "evaluate": 2},
    figures={
        ("fear-dominant", "risky"): Figure(published=0.092),
        ("approach-dominant", "risky"): Figure(published=0.191),
        ("no-noise", "risky"): Figure(rerun=0.111),
        ("standard", "risky"): Figure(rerun=0.092),
    },
)
