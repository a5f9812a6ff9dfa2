"""Experiment 13: a reward for keeping away from the threat, in place of a fear of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import ScaledBest
from erm_gym.agents.emotional_ed.shaping import PotentialShaping, Shaping
from erm_gym.evaluation.classic_runs import make_rows, play
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.fear import ENV_ID, feared
from erm_gym.evaluation.emotional_ed.protocols import learner_for

REACH = 2.0
"""Distance within which the reward is shaped."""
NOVEL = (1, 3)
"""Where the threat is in the transfer."""
ROUND, EVALUATED = 20, 10
"""Episodes of training, and of evaluation, in turn."""
SPEED_ROUND, SPEED_LIMIT = 10, 500
"""Episodes between two looks at the distance, and after which a run counts as this many."""
TRANSFER_SEEDS = 30

Makes = Callable[[], Sequence[Channel]]


def shaped() -> list[Channel]:
    """`-.5 (1 - d / 2)` where d < 2, in the reward; the report says `-k / d`."""
    return [Channel(ProximityFear(reach=REACH), [Shaping(0.5)])]


def hybrid() -> list[Channel]:
    """Shaping, and form C."""
    return [Channel(ProximityFear(reach=REACH), [Shaping(0.5), ScaledBest()])]


def potential() -> list[Channel]:
    """Fear as a potential, which leaves the best policies what they are."""
    return [Channel(ProximityFear(), [PotentialShaping(1.0, 0.99)])]


def run(seeds: Sequence[int], channels: Makes, *, episodes: int = 200) -> Scores:
    """Rounds of 20 episodes of training and 10 at epsilon .05, in which learning goes on.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        episodes: Of training, at least 20; what is left of a round is not played.

    Returns:
        The distance of the last evaluation, and the return without shaping.
    """
    config = QConfig(ties="first")
    envs = make_rows(ENV_ID, len(seeds))
    learner = learner_for(envs, seeds, channels, config)
    for _ in range(episodes // ROUND):
        play(envs, learner, ROUND, seed=list(seeds))
        evaluated = play(envs, learner, EVALUATED, seed=list(seeds), epsilon=0.05)
    return {
        "min_threat_distance": evaluated["min_threat_distance"].mean(axis=1),
        "return": evaluated["return"].mean(axis=1),
    }


def transfer(seeds: Sequence[int], channels: Makes, *, trained: int = 200) -> np.ndarray:
    """Distance `[seeds]` from a threat elsewhere, of an agent that learned and goes on learning.

    The novel environment is shaped too, as in the original.
    """
    config = QConfig(ties="first")
    envs = make_rows(ENV_ID, len(seeds))
    learner = learner_for(envs, seeds, channels, config)
    play(envs, learner, trained, seed=list(seeds))
    novel = make_rows(ENV_ID, len(seeds), threat=NOVEL)
    evaluated = play(novel, learner, EVALUATED, seed=list(seeds), epsilon=0.05)
    return evaluated["min_threat_distance"].mean(axis=1)


def episodes_to_distance(
    seeds: Sequence[int], channels: Makes, *, least: float = 1.0, limit: int = SPEED_LIMIT
) -> np.ndarray:
    """Episodes of training `[seeds]` until the distance in an evaluation is `least`.

    An evaluation follows every 10 episodes; who never keeps away counts as `limit`.
    """
    config = QConfig(ties="first")
    envs = make_rows(ENV_ID, len(seeds))
    learner = learner_for(envs, seeds, channels, config)
    found = np.full(len(seeds), float(limit))
    for trained in range(SPEED_ROUND, limit, SPEED_ROUND):
        play(envs, learner, SPEED_ROUND, seed=list(seeds))
        evaluated = play(envs, learner, EVALUATED, seed=list(seeds), epsilon=0.05)
        kept = evaluated["min_threat_distance"].mean(axis=1) >= least
        found = np.where(kept, np.minimum(found, trained), found)
    return found


MAKES: dict[str, Makes] = {
    "standard": list,
    "ed": feared,
    "shaping": shaped,
    "hybrid": hybrid,
    "potential": potential,
}
"""Agents by their names; the last is a control of ours."""


def further(
    seeds: Sequence[int], channels: Makes, *, trained: int = 200, limit: int = 500
) -> Scores:
    """Transfer and speed of one agent; arguments as for `transfer` and `episodes_to_distance`."""
    return {
        "transfer_distance": transfer(seeds, channels, trained=trained),
        "episodes_to_distance": episodes_to_distance(seeds, channels, limit=limit),
    }


EXPERIMENT = Experiment(
    number="13",
    name="shaping",
    env_id=ENV_ID,
    seeds=20,
    arms={name: partial(run, channels=channels) for name, channels in MAKES.items()},
    short={"episodes": 20},
    figures={
        ("standard", "min_threat_distance"): Figure(published=0.33, rerun=0.345),
        ("ed", "min_threat_distance"): Figure(published=0.40, rerun=0.465),
        ("shaping", "min_threat_distance"): Figure(published=0.47, rerun=1.94),
        ("hybrid", "min_threat_distance"): Figure(published=0.50, rerun=1.94),
    },
)
"""The distance kept, of 20 seeds."""

FURTHER = Experiment(
    number="13 transfer",
    name="shaping-transfer",
    env_id=ENV_ID,
    seeds=30,
    arms={name: partial(further, channels=channels) for name, channels in MAKES.items()},
    short={"trained": 10, "limit": 20},
    figures={
        ("standard", "transfer_distance"): Figure(published=0.27, rerun=0.51),
        ("ed", "transfer_distance"): Figure(published=0.33, rerun=0.97),
        ("shaping", "transfer_distance"): Figure(published=0.47, rerun=1.77),
        ("hybrid", "transfer_distance"): Figure(published=0.47, rerun=2.28),
        ("standard", "episodes_to_distance"): Figure(rerun=389.0),
        ("ed", "episodes_to_distance"): Figure(rerun=261.0),
        ("shaping", "episodes_to_distance"): Figure(rerun=10.0),
        ("hybrid", "episodes_to_distance"): Figure(rerun=10.0),
    },
    note=(
        "The transfer distance says which of many tied paths was kept in training. It does not "
        "depend on how long is trained or evaluated, or on whether learning goes on: 120 seeds "
        "give .87, .98, 2.10 and 1.92 in every case. The re-run's .51 of the standard agent is "
        "2.4 standard errors of 30 seeds below, and what else its code does is not known."
    ),
)
"""Transfer to another threat, and speed, of 30 seeds."""
