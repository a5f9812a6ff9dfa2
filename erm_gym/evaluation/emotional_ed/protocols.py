"""Protocols that several experiments share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from erm_gym.agents.emotional_ed import Channel, QConfig, QLearner
from erm_gym.agents.emotional_ed.learner import Ties
from erm_gym.evaluation.classic_runs import (
    Episodes,
    make_rows,
    number_of_actions,
    number_of_states,
    play,
)
from erm_gym.evaluation.emotional_ed.experiment import Scores

EVALUATION_EPSILON = 0.05
"""Probability of a random action where most of the originals evaluate."""
EVALUATION_SEED = 1_000_000
"""Added to the seeds of the environment where an agent is evaluated."""


def learner_for(
    envs: VectorEnv,
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    config: QConfig,
) -> QLearner:
    """An untrained Q-learner for an environment with discrete actions.

    Args:
        envs: With a row per seed.
        seeds: Seed of each row of the learner.
        channels: Makes the channels.
        config: Hyperparameters.
    """
    states = number_of_states(envs.single_observation_space)
    actions = number_of_actions(envs.single_action_space)
    return QLearner(seeds, states, actions, config, channels())


def train_then_evaluate(
    env_id: str,
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    config: QConfig,
    *,
    train: int,
    evaluate: int,
    epsilon: float = 0.0,
    learning: bool = False,
    limit_ends: bool = False,
    **options: Any,
) -> tuple[Episodes, Episodes]:
    """Trains a Q-learner in every row, then evaluates it.

    Args:
        env_id: A classic environment.
        seeds: Seed of each row, of its environment and of its learner.
        channels: Makes the channels.
        config: Hyperparameters.
        train: Episodes of training, >= 1.
        evaluate: Episodes of evaluation; 0 for none.
        epsilon: Probability of a random action in evaluation.
        learning: Whether learning goes on in evaluation, as in some of the originals.
        limit_ends: Whether a time limit is learned as an end, as in most of the originals.
        **options: Of the environment.

    Returns:
        Episodes of the training and of the evaluation, an empty dict if there are none.
    """
    envs = make_rows(env_id, len(seeds), **options)
    learner = learner_for(envs, seeds, channels, config)
    first = [int(seed) for seed in seeds]
    trained = play(envs, learner, train, seed=first, limit_ends=limit_ends)
    if not evaluate:
        return trained, {}
    again = [EVALUATION_SEED + seed for seed in first]
    evaluated = play(
        envs,
        learner,
        evaluate,
        seed=again,
        learning=learning,
        epsilon=epsilon,
        limit_ends=limit_ends,
    )
    return trained, evaluated


def means(episodes: Episodes, names: Iterable[str]) -> Scores:
    """Mean of each measure over a row's episodes."""
    return {name: np.asarray(episodes[name].mean(axis=1)) for name in names}


def evaluated_means(
    env_id: str,
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    channels: Callable[[], Sequence[Channel]],
    train: int = 300,
    evaluate: int = 100,
    ties: Ties = "first",
    learning: bool = False,
) -> Scores:
    """Trains, then evaluates at epsilon .05: how most of the originals make their statistics.

    Args:
        env_id: A classic environment.
        names: Of measures.
        seeds: One per row.
        channels: Makes the channels.
        train: Episodes of training.
        evaluate: Episodes of evaluation.
        ties: Of equally good actions.
        learning: Whether learning goes on in the evaluation, as in some of the originals.

    Returns:
        Mean of each measure over the episodes of the evaluation.
    """
    _, evaluated = train_then_evaluate(
        env_id,
        seeds,
        channels,
        QConfig(ties=ties),
        train=train,
        evaluate=evaluate,
        epsilon=EVALUATION_EPSILON,
        learning=learning,
        limit_ends=True,
    )
    return means(evaluated, names)
