"""Tabular Q-learning of many rows at once, with emotional channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.streams import RowStreams

Ties = Literal["random", "first"]


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


class QLearner:
    """Q-learning in B rows, each with a table, random numbers and emotions of its own.

    `Q[s, a] += lr gain (r + discount max Q[s'] - Q[s, a])`, epsilon-greedy; channels act as
    `erm_gym.agents.emotional_ed.channel` says.

    Args:
        seeds: Seed of each of the B rows.
        num_states: States S.
        num_actions: Actions A.
        config: Hyperparameters.
        channels: Emotions and what they do; none for the plain learner.
        observed_levels: With 2 or more, the level of every channel belongs to the state, in so many
            equal parts of [0, 1]: what an emotion is worth as an observation.

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
        self.channels = tuple(channels)
        rows = len(seeds)
        self._parts = observed_levels
        parts = observed_levels ** len(self.channels)
        self.table = np.zeros((rows, num_states * parts, num_actions))
        self._felt = np.zeros((len(self.channels), rows))
        self._steps = np.zeros(rows)
        self._rows = np.arange(rows)
        self._streams = RowStreams(seeds)
        self._draws: dict[int, RowStreams] = {}
        for number, channel in enumerate(self.channels):
            channel.emotion.allocate(rows, num_states, num_actions)
            for place, influence in enumerate(channel.influences):
                own = [seed + 1_000_003 * (1 + number) + 10_007 * place for seed in seeds]
                self._draws[id(influence)] = RowStreams(own)
        self._learning_rate = np.broadcast_to(np.asarray(self.config.learning_rate, float), rows)
        self._discount = np.broadcast_to(np.asarray(self.config.discount, float), rows)
        self._epsilon = np.broadcast_to(np.asarray(self.config.epsilon, float), rows)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Episodes begin where `rows` `[B]` bool is set."""
        for channel in self.channels:
            channel.emotion.begin(rows, situation)

    def act(
        self,
        situation: Situation,
        *,
        epsilon: float | None = None,
        active: np.ndarray | None = None,
    ) -> np.ndarray:
        """Chooses an action in every row.

        Args:
            situation: Where the rows are.
            epsilon: Probability of a random action in place of the configured one.
            active: `[B]` bool, the rows that count; the others draw nothing. By default all.

        Returns:
            `[B]` int in [0, A).
        """
        self._here = self._number(situation)
        values = self.table[self._rows, self._here]  # [B, A]
        explore = self._epsilon if epsilon is None else np.full(len(self._rows), float(epsilon))
        for channel in self.channels:
            level = channel.level
            for influence in channel.influences:
                values = influence.values(values, level, situation)
                explore = influence.epsilon(explore, level)
        draws = self._streams.uniform(3, active)
        explored = draws[:, 0] < explore
        random = (draws[:, 1] * values.shape[1]).astype(np.int64)
        action = np.where(explored, random, self._greedy(values, draws[:, 2]))
        for channel in self.channels:
            level = channel.level
            for influence in channel.influences:
                choice = Choice(action=action, explored=explored, values=values)
                action = influence.action(
                    choice, level, situation, partial(self._draw, influence, active)
                )
        return action

    def observe(
        self,
        before: Situation,
        action: np.ndarray,
        reward: np.ndarray,
        after: Situation,
        terminated: np.ndarray,
        *,
        active: np.ndarray,
        learning: bool = True,
    ) -> None:
        """Feels one step of every row, and learns from it.

        Args:
            before: Where the rows were.
            action: `[B]` int, what they did.
            reward: `[B]` float.
            after: Where they are; at an end, the state that the episode ended in.
            terminated: `[B]` bool, nothing comes after; a time limit does not count.
            active: `[B]` bool, the rows that count.
            learning: Whether the table changes; emotions are felt in any case.
        """
        value = self.table[self._rows, self._here, action]
        transition = Transition(
            before=before,
            action=action,
            reward=reward,
            after=after,
            terminated=terminated,
            value=value,
            active=active,
        )
        resting = None if active.all() else ~active
        for channel in self.channels:
            kept = None if resting is None else channel.emotion.kept(resting)
            channel.emotion.feel(transition)
            if resting is not None and kept is not None:
                channel.emotion.put_back(resting, kept)
        for number, channel in enumerate(self.channels):
            self._felt[number] += channel.emotion.level * active
        self._steps += active
        if learning:
            self._learn(transition, resting)

    def mean_levels(self) -> np.ndarray:
        """What each emotion felt over all steps so far, `[channels, B]`, without weights."""
        return self._felt / np.maximum(self._steps, 1.0)

    def _number(self, situation: Situation) -> np.ndarray:
        """Numbers `[B]` of the states, observed levels included."""
        number = situation.state
        if self._parts > 1:
            for channel in self.channels:
                part = (channel.emotion.level * self._parts).astype(np.int64)
                number = number * self._parts + np.clip(part, 0, self._parts - 1)
        return number

    def _draw(self, influence: Influence, active: np.ndarray | None) -> np.ndarray:
        return self._draws[id(influence)].uniform(1, active)[:, 0]

    def _learn(self, transition: Transition, resting: np.ndarray | None) -> None:
        reward = transition.reward
        for channel in self.channels:
            for influence in channel.influences:
                reward = influence.reward(reward, channel.level, transition)
        best = self.table[self._rows, self._number(transition.after)].max(axis=1)
        target = reward + np.where(transition.terminated, 0.0, self._discount * best)
        error = target - transition.value
        rate = self._learning_rate
        for channel in self.channels:
            for influence in channel.influences:
                rate = rate * influence.gain(error, channel.level, transition)
        step = np.where(transition.active, rate * error, 0.0)
        self.table[self._rows, self._here, transition.action] += step
        for channel in self.channels:
            kept = None if resting is None else channel.emotion.kept(resting)
            channel.emotion.learned(transition, error)
            if resting is not None and kept is not None:
                channel.emotion.put_back(resting, kept)

    def _greedy(self, values: np.ndarray, draws: np.ndarray) -> np.ndarray:
        if self.config.ties == "first":
            return values.argmax(axis=1)
        best = values == values.max(axis=1, keepdims=True)  # [B, A]
        chosen = (draws * best.sum(axis=1)).astype(np.int64)  # which of the best, from 0
        return (best.cumsum(axis=1) > chosen[:, None]).argmax(axis=1)
