"""Experiment 10: wanting and liking, told apart by what is eaten."""

from __future__ import annotations

from functools import partial

from erm_gym.agents.emotional_ed import Channel
from erm_gym.agents.emotional_ed.forms import LearningGain, ScaledBest
from erm_gym.agents.emotional_ed.wanting import hooked, liking, savoured, wanting
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure
from erm_gym.evaluation.emotional_ed.protocols import evaluated_means

ENV_ID = "ErmGym/WantingLiking-v0"


def wants(*, habit: float = 1.0) -> list[Channel]:
    """Scales its best value near what it wants, and learns more from it.

    Args:
        habit: Growth of wanting with every wanted item.
    """
    return [
        Channel(wanting(habit=habit), [ScaledBest(1.5, threshold=0.3), LearningGain(hooked)]),
    ]


def likes(*, habit: float = 1.0) -> list[Channel]:
    """Scales its best value near what it likes, and learns more from what is good.

    Args:
        habit: Growth of liking with every wanted item.
    """
    return [
        Channel(liking(habit=habit), [ScaledBest(1.5, threshold=0.3), LearningGain(savoured)]),
    ]


def wants_and_likes() -> list[Channel]:
    """Both."""
    return [*wants(), *likes()]


def addicted() -> list[Channel]:
    """Both, with wanting that grows and liking that fades."""
    return [*wants(habit=1.05), *likes(habit=0.9)]


def learning_part() -> list[Channel]:
    """A control: wanting that acts on learning alone."""
    return [Channel(wanting(), [LearningGain(hooked)])]


NAMES = ("wanted", "liked", "regular", "return")
"""Shares of the episodes in which each item was eaten, and the return."""
run = partial(evaluated_means, ENV_ID, NAMES)


EXPERIMENT = Experiment(
    number="10",
    name="wanting",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": partial(run, channels=list),
        "wanting": partial(run, channels=wants),
        "liking": partial(run, channels=likes),
        "integrated": partial(run, channels=wants_and_likes),
        "addiction": partial(run, channels=addicted),
        "learning-part": partial(run, channels=learning_part),
    },
    short={"train": 5, "evaluate": 2},
    figures={
        ("standard", "wanted"): Figure(rerun=0.079),
        ("wanting", "wanted"): Figure(published=0.246),
        ("liking", "wanted"): Figure(published=0.052),
        ("integrated", "wanted"): Figure(rerun=0.095),
        ("learning-part", "wanted"): Figure(rerun=0.174),
        ("standard", "return"): Figure(rerun=0.12),
    },
    note=(
        "Wanting eats the wanted item hardly more often than the standard agent does: the "
        "published effect is the gain's, which with ours is small. Shares swing with the random "
        "actions of the evaluation: .02, .07 and .10 of the standard agent's at epsilon 0, .05, .1."
    ),
)
