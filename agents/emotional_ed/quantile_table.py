"""Tables of quantiles: learners that can look at the worst outcomes of an action only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.moments import Transition
from erm_gym.agents.emotional_ed.q_learner import QConfig, QLearner

QUANTILES = 21


class QuantileTableLearner(QLearner):
    """Quantile regression in B rows: a table of N quantiles of each action's return.

    Actions are chosen by the mean of the worst outcomes, of all of them unless a channel's `risk`
    says otherwise; the next action of a target is the one with the greatest mean. The step of
    quantile i is `lr gain mean_j (tau_i - [target_j < theta_i])`, over all pairs.

    Arguments as for `QLearner`, in whose `table` the means are kept.

    Attributes:
        quantiles: `[B, S, A, N]` float64; 0 at first.

    Source: Dabney et al. 2018, "Distributional reinforcement learning with quantile regression",
    the tabular form of equation 10 without Huber's part; the policy that is learned about is the
    neutral one, as in Emotional-ED, V2 CVaR fear.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        num_states: int,
        num_actions: int,
        config: QConfig | None = None,
        channels: Sequence[Channel] = (),
        *,
        observed_levels: int = 1,
    ) -> None:
        super().__init__(
            seeds, num_states, num_actions, config, channels, observed_levels=observed_levels
        )
        self.quantiles = np.zeros((*self.table.shape, QUANTILES))
        self._fractions = (np.arange(QUANTILES) + 0.5) / QUANTILES

    def _values(self, state: np.ndarray) -> np.ndarray:
        return worst_mean(self.quantiles[self._rows, state], self._risk())

    def _risk(self) -> np.ndarray:
        risk = np.ones(len(self._rows))
        for channel in self.channels:
            level = channel.level
            for influence in channel.influences:
                risk = influence.risk(risk, level)
        return risk

    def _learn(self, transition: Transition, resting: np.ndarray | None) -> None:
        reward = self._shaped(transition)
        after = self._number(transition.after)
        best = self.table[self._rows, after].argmax(axis=1)
        discount = np.where(transition.terminated, 0.0, self._discount)
        wanted = reward[:, None] + discount[:, None] * self.quantiles[self._rows, after, best]
        error = wanted.mean(axis=1) - transition.value
        rate = self._learning_rate
        for channel in self.channels:
            for influence in channel.influences:
                rate = rate * influence.gain(error, channel.level, transition)
        place = self._rows, self._here, transition.action
        step = rate[:, None] * self._steps_towards(self.quantiles[place], wanted)  # [B, N]
        self.quantiles[place] += np.where(transition.active[:, None], step, 0.0)
        self.table[place] = self.quantiles[place].mean(axis=1)
        self._tell(transition, error, resting)

    def _steps_towards(self, quantiles: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Where quantiles `[B, N]` go from targets `[B, N]`, `[B, N]` for a rate of 1."""
        below = (wanted[:, None, :] < quantiles[:, :, None]).mean(axis=2)
        return self._fractions - below


class PublishedQuantileLearner(QuantileTableLearner):
    """What the original took for quantile regression, which is not.

    Quantile i goes towards target i alone, by `lr tau_i delta_i` if that is above it, else by
    `lr (1 - tau_i) delta_i`: an expectile's step at half its speed.

    Source: Emotional-ED, V2 CVaR fear.
    """

    def _steps_towards(self, quantiles: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        error = wanted - quantiles
        return np.where(error > 0.0, self._fractions, 1.0 - self._fractions) * error


def worst_mean(quantiles: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """The mean of the lowest `max(1, int(N risk))` quantiles.

    Args:
        quantiles: `[B, A, N]`, in any order.
        risk: `[B]` in (0, 1].

    Returns:
        `[B, A]`.
    """
    count = quantiles.shape[-1]
    counted = np.maximum(1, (count * risk).astype(np.int64))[:, None, None]
    weights = (np.arange(count) < counted) / counted  # [B, 1, N]
    mean: np.ndarray = (np.sort(quantiles, axis=-1) * weights).sum(axis=-1)
    return mean
