"""Tabular Q-learning of many rows at once, with emotional channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel, Influence
from erm_gym.agents.emotional_ed.learner import ChannelLearner, Ties
from erm_gym.agents.emotional_ed.moments import Transition
from erm_gym.agents.hyperparameters import AgentError


@dataclass(frozen=True, kw_only=True)
class QConfig:
    """Hyperparameters of a tabular Q-learner; arrays `[B]` give each row its own."""

    learning_rate: float | np.ndarray = 0.1
    """In (0, 1]."""
    discount: float | np.ndarray = 0.99
    """In [0, 1]."""
    epsilon: float | np.ndarray = 0.1
    """Probability of a random action, in [0, 1]."""
    ties: Ties = "random"
    """Which of equally good actions is taken: a random one, or the first, as published."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            AgentError: It names the field, its value and what is allowed.
        """
        for name, least in (("learning_rate", np.nextafter(0, 1)), ("discount", 0), ("epsilon", 0)):
            value = np.asarray(getattr(self, name), float)
            if not ((value >= least) & (value <= 1.0)).all():
                bounds = "(0, 1]" if least else "[0, 1]"
                raise AgentError(f"{name} must be in {bounds}, got {getattr(self, name)}")
        if self.ties not in ("random", "first"):
            raise AgentError(f"ties must be 'random' or 'first', got {self.ties!r}")


class QLearner(ChannelLearner):
    """Q-learning in B rows, each with a table, random numbers and emotions of its own.

    `Q[s, a] += lr gain (r + discount max Q[s'] - Q[s, a])`, epsilon-greedy; channels act as
    `erm_gym.agents.emotional_ed.channel` says.

    Args:
        seeds: Seed of each of the B rows.
        num_states: States S.
        num_actions: Actions A.
        config: Hyperparameters.
        channels: Emotions and what they do; none for the plain learner.
        observed_levels: As for the base.

    Attributes:
        table: `[B, S, A]` float64, the action values; 0 at first. S counts observed levels, too.

    Source: Watkins & Dayan 1992.
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
        self.config = config or QConfig()
        super().__init__(
            seeds,
            num_states,
            num_actions,
            channels,
            ties=self.config.ties,
            observed_levels=observed_levels,
        )
        self._teaching = [
            (channel, influence)
            for channel in self.channels
            for influence in channel.influences
            if type(influence).lesson is not Influence.lesson
        ]
        rows = len(seeds)
        parts = observed_levels ** len(self.channels)
        self.table = np.zeros((rows, num_states * parts, num_actions))
        self._learning_rate = np.broadcast_to(np.asarray(self.config.learning_rate, float), rows)
        self._discount = np.broadcast_to(np.asarray(self.config.discount, float), rows)
        self._epsilon = np.broadcast_to(np.asarray(self.config.epsilon, float), rows)

    def _values(self, state: np.ndarray) -> np.ndarray:
        values: np.ndarray = self.table[self._rows, state]
        return values

    def _value(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        value: np.ndarray = self.table[self._rows, state, action]
        return value

    def _exploration(self) -> np.ndarray:
        return self._epsilon

    def _learn(self, transition: Transition, resting: np.ndarray | None) -> None:
        reward = self._shaped(transition)
        best = self.table[self._rows, self._number(transition.after)].max(axis=1)
        target = reward + np.where(transition.terminated, 0.0, self._discount * best)
        error = target - transition.value
        rate = self._learning_rate
        for channel in self.channels:
            for influence in channel.influences:
                rate = rate * influence.gain(error, channel.level, transition)
        step = np.where(transition.active, rate * error, 0.0)
        self.table[self._rows, self._here, transition.action] += step
        for channel, influence in self._teaching:
            values = self.table[self._rows, self._here]  # [B, A]
            taught = influence.lesson(values, error, channel.level, transition)
            active = transition.active[:, None]
            self.table[self._rows, self._here] = np.where(active, taught, values)
        self._tell(transition, error, resting)
