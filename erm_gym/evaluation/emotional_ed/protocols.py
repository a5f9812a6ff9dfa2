"""Protocols that several experiments share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gymnasium.vector import VectorEnv

from erm_gym.agents.emotional_ed import Channel, QConfig, QLearner
from erm_gym.evaluation.classic_runs import (
    Episodes,
    make_rows,
    number_of_actions,
    number_of_states,
    play,
)

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
