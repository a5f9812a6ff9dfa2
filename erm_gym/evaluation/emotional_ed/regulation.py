"""Experiment 6: fear of a real and a fake threat, and its regulation, in two versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, Emotion, QConfig, Transition
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import LearningGain, RankPreserving, ScaledBest
from erm_gym.agents.emotional_ed.learner import Ties
from erm_gym.agents.emotional_ed.regulation import (
    PlaceRegulated,
    StrategyRegulated,
    TypeRegulated,
)
from erm_gym.evaluation.emotional_ed.experiment import Arm, Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import train_then_evaluate

ENV_ID = "ErmGym/Regulation-v0"

Makes = Callable[[], Sequence[Channel]]


def more_from_losses(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e` where an outcome is worse than expected, else 1."""
    return np.where(error < 0.0, 1.0 + level, 1.0)


def first_version(emotion: Callable[[], Emotion]) -> list[Channel]:
    """Form A, which never changes a choice, and more learned from losses.

    Args:
        emotion: Makes the fear, regulated or not.
    """
    return [Channel(emotion(), [RankPreserving(), LearningGain(more_from_losses)], weight=0.8)]


def second_version(emotion: Callable[[], Emotion]) -> list[Channel]:
    """Form C where the fear is above .2.

    Args:
        emotion: Makes the fear, regulated or not.
    """
    return [Channel(emotion(), [ScaledBest(factor=0.5, threshold=0.2)])]


def run(
    seeds: Sequence[int],
    channels: Makes,
    *,
    ties: Ties = "first",
    train: int = 500,
    evaluate: int = 100,
    learning: bool = False,
    epsilon: float = 0.05,
) -> Scores:
    config = QConfig(ties=ties)
    _, evaluated = train_then_evaluate(
        ENV_ID,
        seeds,
        channels,
        config,
        train=train,
        evaluate=evaluate,
        epsilon=epsilon,
        learning=learning,
        limit_ends=True,
    )
    return {name: evaluated[name].mean(axis=1) for name in ("return", "fake", "real", "harm", "goal")}


def run_second(seeds: Sequence[int], channels: Makes, *, episodes: int = 100) -> Scores:
    trained, _ = train_then_evaluate(
        ENV_ID,
        seeds,
        channels,
        QConfig(ties="first"),
        train=episodes,
        evaluate=0,
        limit_ends=True,
        version="V2",
    )
    return {name: trained[name].mean(axis=1) for name in ("return", "fake", "real", "harm", "goal")}
