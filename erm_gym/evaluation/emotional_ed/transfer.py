"""Experiment 11: fear learned of one threat, and another threat elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, QConfig, Transition
from erm_gym.agents.emotional_ed.forms import LearningGain, ScaledBest
from erm_gym.agents.emotional_ed.transferred_fear import PlaceFear, WidthFear
from erm_gym.evaluation.classic_runs import make_rows, play
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import EVALUATION_SEED, learner_for

ENV_ID = "ErmGym/TransferGrid-v0"
NOVEL = (1, 3)


def more_from_harm(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 + .8 e` where the reward is negative, else 1."""
    return 1.0 + 0.8 * level * (transition.reward < 0.0)


def place_bound() -> list[Channel]:
    """Fear of single cells, which says nothing about another threat."""
    return [Channel(PlaceFear(), [ScaledBest()])]


def transferred() -> list[Channel]:
    """Fear of what is near."""
    influences = [ScaledBest(factor=0.8, threshold=0.3), LearningGain(more_from_harm)]
    return [Channel(WidthFear(), influences)]


def run(
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    *,
    trained: int = 200,
    evaluated: int = 50,
) -> Scores:
    """Trains with the threat at (2, 2), then looks at (1, 3) at epsilon .05 without learning.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        trained: Episodes of training.
        evaluated: Episodes with the other threat.
    """
    first, second = make_rows(ENV_ID, len(seeds)), make_rows(ENV_ID, len(seeds), threat=NOVEL)
    learner = learner_for(first, seeds, channels, QConfig(ties="first"))
    play(first, learner, trained, seed=list(seeds), limit_ends=True)
    again = [EVALUATION_SEED + seed for seed in seeds]
    found = play(second, learner, evaluated, seed=again, learning=False, epsilon=0.05)
    return {name: found[name].mean(axis=1) for name in ("hits", "return", "goal")}


EXPERIMENT = Experiment(
    number="11",
    name="transfer",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "no-transfer": partial(run, channels=place_bound),
        "emotional": partial(run, channels=transferred),
        "standard": partial(run, channels=list),
    },
    short={"trained": 10, "evaluated": 5},
    figures={
        ("no-transfer", "hits"): Figure(published=4.00, rerun=2.94),
        ("emotional", "hits"): Figure(published=3.75, rerun=2.22),
        ("standard", "hits"): Figure(rerun=2.52),
    },
    note="The standard agent is not in the published table. Ours with emotion hits some .8 more "
    "often than the re-run; at 2.6 hits of spread between seeds that is 2.3 standard errors.",
)
