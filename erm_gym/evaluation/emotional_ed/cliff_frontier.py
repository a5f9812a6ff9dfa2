"""The fair slippery cliff: return and survival of deep agents, worked out and not sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO

from erm_gym.agents import GymnasiumVecEnv
from erm_gym.agents.emotional_ed import Situation
from erm_gym.agents.emotional_ed.deep_agents import DeepAgent
from erm_gym.agents.emotional_ed.deep_q import DeepQLearner
from erm_gym.agents.lagrangian import CostPenalty, LagrangeMultiplier
from erm_gym.envs.classic.planning import (
    expected_return,
    greedy_policy,
    likeliest_policy,
    optimal_values,
    probability_of,
)
from erm_gym.envs.classic.slippery_cliff import FairSlipperyCliffVectorEnv
from erm_gym.evaluation.classic_runs import make_rows, play, state_numbers
from erm_gym.evaluation.statistics import Interval, iqm, probability_of_improvement

ENV_ID = "ErmGym/SlipperyCliff-v1"
MARGIN = 0.05
"""Least gain of the interquartile mean, in units of what lies between a random policy and the best,
that counts."""


class Frontier(NamedTuple):
    """What agents are worth, one number per seed."""

    returned: np.ndarray
    """`[seeds]`, expected return of the greedy policy."""
    survived: np.ndarray
    """`[seeds]`, probability that it does not fall."""
    survived_training: np.ndarray
    """`[seeds]`, share of the training episodes without a fall."""
    steps: np.ndarray
    """`[seeds]`, steps of training."""


class Verdict(NamedTuple):
    """Whether an agent beats another on the frontier."""

    beats: bool
    """At least the other's mean survival, the lower bound of the probability of a better return
    above .5, and a gain of .05 or more; or the same with return and survival exchanged."""
    return_gain: float
    """Gain of the interquartile mean of the return; 0 is a random policy's, 1 the best."""
    survival_gain: float
    """The same of survival, where 1 is the safest policy's."""
    better_return: Interval
    """Probability that a seed of the first returns more than a seed of the second."""
    better_survival: Interval
    """Probability that it survives more often."""


def run(
    agent: DeepAgent, seeds: Sequence[int], *, episodes: int = 500, trained_with: float = 20.0
) -> Frontier:
    """Trains an agent in every row, and works out what its greedy policy is worth.

    Args:
        agent: The agent; what it feels must follow from the state alone.
        seeds: Seed of each row, of its environment and of its learner.
        episodes: Episodes of training.
        trained_with: What a fall costs in training; in the evaluation it costs 20.
    """
    envs = make_rows(ENV_ID, len(seeds), fall=trained_with)
    assert isinstance(envs, FairSlipperyCliffVectorEnv)
    learner = agent.learner(seeds, envs.single_observation_space.nvec.tolist(), 4)  # type: ignore[attr-defined]
    trained = play(envs, learner, episodes, seed=[int(seed) for seed in seeds])
    worth = np.array([value(policy) for policy in greedy_policies(envs, learner)])
    return Frontier(
        returned=worth[:, 0],
        survived=worth[:, 1],
        survived_training=1.0 - trained["fell"].mean(axis=1),
        steps=trained["length"].sum(axis=1),
    )


def run_lagrangian(
    seeds: Sequence[int],
    *,
    steps: int = 12_288,
    limit: float = 0.1,
    rate: float = 10.0,
    rows: int = 8,
) -> Frontier:
    """Trains PPO with a price on falling, one agent per seed, and works out what it is worth.

    Args:
        seeds: Of the agents.
        steps: Steps of training of each.
        limit: Falls per episode that are allowed; the safest policy has .067, the best .093.
        rate: Step size of the price, once every 1,024 steps.
        rows: Rows of each agent's environment.
    """
    policies, survived = [], []
    cells = np.arange(48)
    for seed in seeds:
        vector_env = gym.make_vec(ENV_ID, num_envs=rows)
        assert isinstance(vector_env, FairSlipperyCliffVectorEnv)
        env = CostPenalty(GymnasiumVecEnv(vector_env), "fell")
        agent = PPO("MlpPolicy", env, n_steps=128, batch_size=128, seed=int(seed), device="cpu")
        multiplier = LagrangeMultiplier(limit, rate)
        agent.learn(steps, callback=multiplier)
        chosen, _ = agent.predict(vector_env.observation_at(cells), deterministic=True)
        policies.append(np.eye(4)[chosen])
        survived.append(1.0 - np.mean(multiplier.costs))
    worth = np.array([value(policy) for policy in policies])
    return Frontier(
        returned=worth[:, 0],
        survived=worth[:, 1],
        survived_training=np.array(survived),
        steps=np.full(len(policies), float(steps)),
    )


def greedy_policies(envs: FairSlipperyCliffVectorEnv, learner: DeepQLearner) -> np.ndarray:
    """What a learner does in every cell when it does not explore, `[B, S, A]`."""
    chosen = []
    for cell in range(envs.height * envs.width):
        cells = np.full(envs.num_envs, cell)
        observed = envs.observation_at(cells)
        here = Situation(
            state=state_numbers(envs.single_observation_space, observed),
            context=envs.context_at(cells),
            last_action=np.full(envs.num_envs, -1),
        )
        learner.begin(np.ones(envs.num_envs, bool), here)
        chosen.append(learner.act(here, epsilon=0.0))
    return np.eye(4)[np.stack(chosen, axis=1)]


def value(policy: np.ndarray) -> tuple[float, float]:
    """Expected return and probability of survival of a policy `[S, A]`, where a fall costs 20."""
    env = FairSlipperyCliffVectorEnv()
    model, start = env.model(), env.cell(env.start)
    fell = probability_of(model, policy, start, env.time_limit, env.on_cliff)
    return expected_return(model, policy, start, env.time_limit), 1.0 - fell


def references() -> dict[str, tuple[float, float]]:
    """Return and survival of the best, of the safest and of the random policy."""
    env = FairSlipperyCliffVectorEnv()
    model = env.model()
    return {
        "optimum": value(greedy_policy(optimal_values(model, 0.99))),
        "safest": value(likeliest_policy(model, model.terminal & ~env.on_cliff)),
        "random": value(np.full((48, 4), 0.25)),
    }


def compare(first: Frontier, second: Frontier, rng: np.random.Generator) -> Verdict:
    """Whether the first beats the second; `rng` draws the bootstrap."""
    known = references()
    worst = known["random"]
    return_range = known["optimum"][0] - worst[0]
    survival_range = known["safest"][1] - worst[1]
    return_gain = (iqm(first.returned) - iqm(second.returned)) / return_range
    survival_gain = (iqm(first.survived) - iqm(second.survived)) / survival_range
    better_return = probability_of_improvement(
        first.returned[:, None], second.returned[:, None], rng
    )
    better_survival = probability_of_improvement(
        first.survived[:, None], second.survived[:, None], rng
    )
    as_safe = first.survived.mean() >= second.survived.mean()
    as_good = first.returned.mean() >= second.returned.mean()
    by_return = as_safe and better_return.low > 0.5 and return_gain >= MARGIN
    by_survival = as_good and better_survival.low > 0.5 and survival_gain >= MARGIN
    return Verdict(
        beats=bool(by_return or by_survival),
        return_gain=return_gain,
        survival_gain=survival_gain,
        better_return=better_return,
        better_survival=better_survival,
    )
