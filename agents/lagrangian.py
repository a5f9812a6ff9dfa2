"""Constrained learning: what harms has a price, which rises until there is little enough of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from erm_gym.agents.hyperparameters import AgentError


class CostPenalty(VecEnvWrapper):
    """The reward `(r - price c) / (1 + price)`, with the cost c from what an environment measures.

    Args:
        venv: Its infos have `measures`, which are summed up since the episode began.
        measure: Name of the one that is the cost.
        price: What a cost of 1 costs at first, >= 0.

    Attributes:
        price: What a cost of 1 costs now.
        finished: Costs of the episodes that ended since the list was emptied.
    """

    def __init__(self, venv: VecEnv, measure: str, price: float = 0.0) -> None:
        super().__init__(venv)
        self.measure = measure
        self.price = price
        self.finished: list[float] = []
        self._so_far = np.zeros(venv.num_envs)

    def reset(self) -> Any:
        """Begins all episodes."""
        self._so_far[:] = 0.0
        return self.venv.reset()

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Takes the price of the costs off the rewards.

        Raises:
            AgentError: If the environment measures nothing of that name.
        """
        observations, rewards, dones, infos = self.venv.step_wait()
        try:
            total = np.array([info["measures"][self.measure] for info in infos], float)
        except KeyError as error:
            known = sorted(infos[0].get("measures", {}))
            raise AgentError(
                f"the environment does not measure {self.measure!r}; it measures {known}"
            ) from error
        costs = total - self._so_far
        self._so_far = np.where(dones, 0.0, total)
        self.finished.extend(total[dones].tolist())
        return (
            observations,
            ((rewards - self.price * costs) / (1.0 + self.price)).astype(np.float32),
            dones,
            infos,
        )


class LagrangeMultiplier(BaseCallback):
    """Raises the price where the mean cost per episode is above a limit, and lowers it below.

    After every rollout, `price = max(0, price + rate (mean cost - limit))`.

    Args:
        limit: Cost per episode that is allowed, >= 0.
        rate: Step size of the price, > 0.

    Attributes:
        costs: Mean cost per episode of every rollout.

    Raises:
        AgentError: If an argument is out of range.

    Source: Ray, Achiam & Amodei 2019, "Benchmarking safe exploration in deep reinforcement
    learning", section 5, PPO-Lagrangian, with plain gradient ascent.
    """

    def __init__(self, limit: float, rate: float = 1.0) -> None:
        super().__init__()
        if not (limit >= 0.0 and rate > 0.0):
            raise AgentError(f"limit must be >= 0 and rate > 0, got {limit} and {rate}")
        self.limit = limit
        self.rate = rate
        self.costs: list[float] = []

    def _on_training_start(self) -> None:
        if not isinstance(self.training_env, CostPenalty):
            raise AgentError("the agent's environment must be a CostPenalty")

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        env = self.training_env
        assert isinstance(env, CostPenalty)
        if env.finished:
            mean = float(np.mean(env.finished))
            env.price = max(0.0, env.price + self.rate * (mean - self.limit))
            self.costs.append(mean)
            self.logger.record("lagrangian/price", env.price)
            self.logger.record("lagrangian/cost", mean)
            env.finished.clear()
