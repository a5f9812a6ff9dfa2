"""Experiment 15: too much fear, too much anger, and a conflict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, Context, QConfig, Transition
from erm_gym.agents.emotional_ed.anger import Anger
from erm_gym.agents.emotional_ed.failure_modes import BlockedBoost, Conflict, SignFlip
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import Exploration, LearningGain
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import EVALUATION_EPSILON, means, train_then_evaluate

RING_ID, WALL_ID = "ErmGym/FearRing-v0", "ErmGym/BlockedWay-v0"
SEEDS = 30

Makes = Callable[[], Sequence[Channel]]


def slowed(by: float) -> LearningGain:
    """The gain `1 - by e`."""
    return LearningGain(lambda error, level, transition: 1.0 - by * level)


def steady(count: np.ndarray, context: Context) -> np.ndarray:
    """.3 for every block."""
    return np.full(len(count), 0.3)


def stuck(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """A tenth for blocked moves where e > .5."""
    blocked = transition.after.context["blocked"] > 0.0
    return np.where(blocked & (level > 0.5), 0.1, 1.0)


def excessive_fear() -> list[Channel]:
    """Turns its values round near the ring, and learns little there."""
    return [Channel(ProximityFear(), [SignFlip(), slowed(0.8)])]


def excessive_anger() -> list[Channel]:
    """Means to push on, and learns little from bumps."""
    return [Channel(Anger(steady, fading=0.99), [BlockedBoost(), LearningGain(stuck)])]


def conflict() -> list[Channel]:
    """Dithers, and learns less."""
    return [Channel(Conflict(), [Exploration(0.5), slowed(0.5)])]


def run(
    env_id: str, seeds: Sequence[int], channels: Makes, *, train: int = 200, evaluate: int = 50
) -> Scores:
    """Trains, then evaluates at epsilon .05, in which learning goes on.

    Args:
        env_id: One of the two environments.
        seeds: One per row.
        channels: Makes the channels.
        train: Episodes of training.
        evaluate: Episodes of evaluation.
    """
    _, evaluated = train_then_evaluate(
        env_id,
        seeds,
        channels,
        QConfig(ties="first"),
        train=train,
        evaluate=evaluate,
        epsilon=EVALUATION_EPSILON,
        learning=True,
        limit_ends=True,
    )
    return means(evaluated, [name for name in evaluated if name != "scares"])


SHORT = {"train": 10, "evaluate": 3}

FEAR = Experiment(
    number="15 fear",
    name="excessive-fear",
    env_id=RING_ID,
    seeds=SEEDS,
    arms={
        "standard": partial(run, RING_ID, channels=list),
        "fear": partial(run, RING_ID, channels=excessive_fear),
    },
    short=SHORT,
    figures={
        ("standard", "goal"): Figure(published=1.0, rerun=1.0),
        ("fear", "goal"): Figure(published=0.0, rerun=0.0),
    },
)

ANGER = Experiment(
    number="15 anger",
    name="excessive-anger",
    env_id=WALL_ID,
    seeds=SEEDS,
    arms={
        "standard": partial(run, WALL_ID, channels=list),
        "anger": partial(run, WALL_ID, channels=excessive_anger),
    },
    short=SHORT,
    figures={
        ("standard", "wall_hits"): Figure(published=0.8, rerun=0.8),
        ("anger", "wall_hits"): Figure(published=7.5, rerun=7.5),
        ("standard", "goal"): Figure(published=1.0, rerun=0.0),
        ("anger", "goal"): Figure(published=1.0, rerun=0.0),
    },
)

CONFLICT = Experiment(
    number="15 conflict",
    name="conflict-paralysis",
    env_id=RING_ID,
    seeds=SEEDS,
    arms={
        "standard": partial(run, RING_ID, channels=list),
        "conflict": partial(run, RING_ID, channels=conflict),
    },
    short=SHORT,
    figures={
        ("standard", "length"): Figure(published=5.6, rerun=4.3),
        ("conflict", "length"): Figure(published=9.3, rerun=9.3),
        ("standard", "goal"): Figure(rerun=1.0),
        ("conflict", "goal"): Figure(published=0.88, rerun=1.0),
    },
    note=(
        "The torn agent's episodes are .3 steps shorter here than the re-run's 9.3. How long they "
        "are hangs on which steps random actions replace; what the original draws them from, and "
        "whether the last step counts, is not in the text."
    ),
)
