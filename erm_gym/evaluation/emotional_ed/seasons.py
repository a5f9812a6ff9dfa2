"""Experiment 19: surprise at colours that swap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.surprise_agents import surprised
from erm_gym.envs.classic.seasons import SEASON_LENGTH
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import train_then_evaluate

ENV_ID = "ErmGym/Seasons-v0"
EPISODES = 600
LONGEST = 50
"""Episodes of a recovery that does not come."""


def recovery(returns: np.ndarray, season: int = SEASON_LENGTH) -> np.ndarray:
    """Episodes up to the first return above 0 after a swap; the mean over all swaps.

    The first episode after a swap is number 1; 50 if there is no such return in as many.

    Args:
        returns: `[B, E]` of all episodes, E > season.
        season: Episodes between two swaps.

    Returns:
        `[B]`.
    """
    found = []
    for swap in range(season, returns.shape[1], season):
        paid = returns[:, swap : swap + min(LONGEST, season)] > 0.0
        found.append(np.where(paid.any(axis=1), paid.argmax(axis=1) + 1, LONGEST))
    return np.mean(found, axis=0)


def run(
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    *,
    episodes: int = EPISODES,
    learning_rate: float = 0.1,
    epsilon: float = 0.2,
) -> Scores:
    """Learns in every episode; all count.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        episodes: More than a season's 100.
        learning_rate: Of the learner.
        epsilon: Probability of a random action.

    Returns:
        `recovery` in episodes, and the mean `return`.
    """
    config = QConfig(learning_rate=learning_rate, epsilon=epsilon, ties="first")
    trained, _ = train_then_evaluate(
        ENV_ID, seeds, channels, config, train=episodes, evaluate=0, limit_ends=True
    )
    returns = trained["return"]
    return {"recovery": recovery(returns), "return": np.asarray(returns.mean(axis=1))}


EXPERIMENT = Experiment(
    number="19",
    name="seasons",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": partial(run, channels=list),
        "surprise": partial(run, channels=lambda: surprised(from_error=False)),
        "constant": partial(run, channels=list, learning_rate=0.3, epsilon=0.5),
    },
    short={"episodes": 200},
    figures={
        ("standard", "recovery"): Figure(published=27.0),
        ("surprise", "recovery"): Figure(published=12.4),
        ("constant", "recovery"): Figure(rerun=12.1),
        ("standard", "return"): Figure(published=-0.153),
        ("surprise", "return"): Figure(published=0.095),
        ("constant", "return"): Figure(rerun=0.092),
    },
    note=(
        "The limit of .5 on the learning rate is never reached. Recovery counts from 1, which fits "
        "all three arms."
    ),
)
