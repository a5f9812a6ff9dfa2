"""Experiment 6: fear of a real and of a fake threat, and its regulation, in two versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, Emotion, QConfig, Transition
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import LearningGain, RankPreserving, ScaledBest
from erm_gym.agents.emotional_ed.regulation import (
    PlaceRegulated,
    StrategyRegulated,
    TypeRegulated,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import evaluated_means, means, train_then_evaluate

ENV_ID = "ErmGym/Regulation-v0"
METRICS = ("return", "fake", "real", "goal")

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


run = partial(evaluated_means, ENV_ID, METRICS, train=500)
"""The first version: `return`, and the shares of episodes with the fake threat's reward, on the
real one's cell, and to the goal."""


def run_second(seeds: Sequence[int], channels: Makes, *, episodes: int = 100) -> Scores:
    """The second version: all episodes are training, and all count.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        episodes: At least 1.

    Returns:
        As for the first version.
    """
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
    return means(trained, METRICS)


UNREGULATED = partial(first_version, ProximityFear)
REGULATED = partial(first_version, PlaceRegulated)
EXPLICIT = partial(first_version, StrategyRegulated)
SHORT = {"train": 5, "evaluate": 2}

DEMONSTRATION = Experiment(
    number="6 V1",
    name="regulation",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "unregulated": partial(run, channels=UNREGULATED, learning=True),
        "regulated": partial(run, channels=REGULATED, learning=True),
        "explicit": partial(run, channels=EXPLICIT, learning=True),
        "standard": partial(run, channels=list, learning=True),
    },
    short=SHORT,
    figures={
        ("unregulated", "return"): Figure(published=1.35),
        ("regulated", "return"): Figure(published=0.96),
        ("explicit", "return"): Figure(published=1.38),
        ("standard", "return"): Figure(published=1.22),
        ("unregulated", "fake"): Figure(published=0.99),
        ("regulated", "fake"): Figure(published=0.94),
        ("explicit", "fake"): Figure(published=1.0),
        ("standard", "fake"): Figure(published=0.99),
        ("unregulated", "real"): Figure(published=0.0),
        ("regulated", "real"): Figure(published=0.0),
        ("explicit", "real"): Figure(published=0.0),
        ("standard", "real"): Figure(published=0.0),
        ("unregulated", "goal"): Figure(published=1.0),
        ("regulated", "goal"): Figure(published=0.87),
        ("explicit", "goal"): Figure(published=1.0),
        ("standard", "goal"): Figure(published=0.96),
    },
    note=(
        "The original has one agent of each kind, ours are the mean of 50, whose returns spread by "
        ".1. Of 300 the unregulated, explicit and standard ones are in their middle 90%; its "
        "regulated one is among the lowest 1%. From how far the fake threat pays is not in the "
        "text: on its cell alone it would be found in .95 to .98 of the episodes."
    ),
)

STATISTICS = Experiment(
    number="6 V1 12b",
    name="regulation-statistics",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "unregulated": partial(run, channels=UNREGULATED),
        "regulated": partial(run, channels=REGULATED),
        "standard": partial(run, channels=list),
        "random-ties": partial(run, channels=list, ties="random"),
    },
    short=SHORT,
    figures={
        ("unregulated", "return"): Figure(published=1.213),
        ("regulated", "return"): Figure(published=1.004),
        ("standard", "return"): Figure(rerun=1.021),
        ("random-ties", "return"): Figure(rerun=1.144),
    },
    note=(
        "How many episodes its statistics train is not in the text: 500, as in the demonstration. "
        "With 300 all four return 1.34 to 1.37."
    ),
)

SECOND = Experiment(
    number="6 V2",
    name="regulation-beliefs",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "unregulated": partial(run_second, channels=partial(second_version, ProximityFear)),
        "regulated": partial(
            run_second, channels=partial(second_version, partial(TypeRegulated, seen="contact"))
        ),
        "standard": partial(run_second, channels=list),
    },
    short={"episodes": 3},
    figures={
        ("unregulated", "return"): Figure(published=1.338, rerun=1.338),
        ("regulated", "return"): Figure(published=0.206, rerun=1.333),
    },
    note=(
        "The published .206 is of an older version, which also multiplied the next state's value "
        "by 1 + .2 belief, a discount above 1. The code has dropped that since, and so the re-run "
        "is what ours should be."
    ),
)
