"""Experiment 9: disgust at what contaminates, in two versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, QConfig, Transition
from erm_gym.agents.emotional_ed.disgust import (
    AwayFromRemembered,
    Disgust,
    HabituatingFear,
    Remembers,
    twice_on_contact,
)
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain, ScaledBest
from erm_gym.agents.emotional_ed.learner import Ties
from erm_gym.agents.emotional_ed.shaping import Shaping
from erm_gym.envs.classic.contamination import SIZE
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import evaluated_means, means, train_then_evaluate

ENV_ID = "ErmGym/Contamination-v0"
EPISODES = 100

Makes = Callable[[], Sequence[Channel]]


def more_from_costs(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + e` where the reward is negative."""
    return 1.0 + level * (transition.reward < 0.0)


def feared() -> list[Channel]:
    """Scales its best value when it fears, and learns more from costs: the baseline of both."""
    return [
        Channel(HabituatingFear(), [ScaledBest(threshold=0.3), LearningGain(more_from_costs)]),
    ]


def scaling() -> list[Channel]:
    """The first version: scales its best value when disgusted."""
    return [Channel(Disgust(), [ScaledBest(1.5, threshold=0.2), LearningGain(twice_on_contact)])]


def directed(remembers: Remembers = "passed") -> list[Channel]:
    """The second version: away from what is remembered, with a penalty in the reward.

    Args:
        remembers: What is remembered.
    """
    disgust = Disgust(remembers)
    away = Bonus(AwayFromRemembered(disgust, SIZE), size=0.25, threshold=0.1)
    return [Channel(disgust, [away, Shaping(0.2), LearningGain(twice_on_contact)])]


def punished() -> list[Channel]:
    """A control: penalty and learning of the second version, and no bias."""
    return [Channel(Disgust(), [Shaping(0.2), LearningGain(twice_on_contact)])]


def run(
    seeds: Sequence[int], channels: Makes, *, ties: Ties = "first", episodes: int = EPISODES
) -> Scores:
    """The second version: all episodes are training, and all count.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        ties: Of equally good actions.
        episodes: At least 1.

    Returns:
        `touches` in all episodes, mean `return`, and `goal`, the share of episodes that reach it.
    """
    config = QConfig(ties=ties)
    trained, _ = train_then_evaluate(
        ENV_ID, seeds, channels, config, train=episodes, evaluate=0, limit_ends=True
    )
    return {"touches": trained["touches"].sum(axis=1), **means(trained, ("return", "goal"))}


run_first = partial(evaluated_means, ENV_ID, ("touches", "near", "return"))
"""The first version: the statistics."""
FIRST = Experiment(
    number="9 V1",
    name="disgust-scaling",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "fear": partial(run_first, channels=feared),
        "disgust": partial(run_first, channels=scaling),
    },
    short={"train": 3, "evaluate": 2},
    figures={
        ("fear", "touches"): Figure(published=0.017),
        ("disgust", "touches"): Figure(published=0.147),
    },
    note=(
        "Ours touches no more with disgust than with fear. The text leaves open what counts as an "
        "exposure, and how much random action there was in the evaluation; it is .05 here."
    ),
)

EXPERIMENT = Experiment(
    number="9 V2",
    name="disgust",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "fear": partial(run, channels=feared),
        "disgust": partial(run, channels=directed),
        "first-contact": partial(run, channels=lambda: directed("first contact")),
        "random-ties": partial(run, channels=list, ties="random"),
        "penalty": partial(run, channels=punished, ties="random"),
    },
    short={"episodes": 3},
    figures={
        ("fear", "touches"): Figure(published=230.3),
        ("disgust", "touches"): Figure(published=115.1),
        ("first-contact", "touches"): Figure(rerun=50.7),
        ("random-ties", "touches"): Figure(rerun=244.0),
        ("penalty", "touches"): Figure(rerun=121.0),
        ("fear", "return"): Figure(published=0.743),
        ("disgust", "return"): Figure(published=0.219),
        ("first-contact", "return"): Figure(rerun=0.553),
        ("random-ties", "return"): Figure(rerun=0.735),
        ("penalty", "return"): Figure(rerun=0.681),
        ("fear", "goal"): Figure(published=0.67),
        ("disgust", "goal"): Figure(published=0.44),
    },
    note=(
        "Plain and fearful learners are as in the original. The disgusted ones touch less and earn "
        "more than theirs: 13 cells are remembered on average, not 26. Tried without success: the "
        "bias along both axes at once, in remembered cells too, and with equal gaps along the row; "
        "disgust from the first contaminated cell or from remembered ones; the penalty counted as "
        "return."
    ),
)
