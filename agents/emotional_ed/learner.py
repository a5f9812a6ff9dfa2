"""What learners with emotional channels share: choosing, feeling, and who learns from what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition
from erm_gym.streams import RowStreams

Ties = Literal["random", "first"]


class ChannelLearner(ABC):
    """A learner in B rows, each with random numbers and emotions of its own.

    A subclass fills in `_values`, `_value`, `_exploration` and `_learn`.

    Args:
        seeds: Seed of each of the B rows.
        num_states: States S.
        num_actions: Actions A.
        channels: Emotions and what they do; none for the plain learner.
        ties: Which of equally good actions is taken.
        observed_levels: With 2 or more, the level of every channel belongs to the state, in so many
            equal parts of [0, 1]: what an emotion is worth as an observation.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        num_states: int,
        num_actions: int,
        channels: Sequence[Channel],
        *,
        ties: Ties,
        observed_levels: int,
    ) -> None:
        self.channels = tuple(channels)
        self._parts = observed_levels
        self._ties = ties
        rows = len(seeds)
        self._rows = np.arange(rows)
        self._here = np.zeros(rows, np.int64)
        self._felt = np.zeros((len(self.channels), rows))
        self._steps = np.zeros(rows)
        self._streams = RowStreams(seeds)
        self._draws: dict[int, RowStreams] = {}
        for number, channel in enumerate(self.channels):
            channel.emotion.allocate(rows, num_states, num_actions)
            for place, influence in enumerate(channel.influences):
                own = [seed + 1_000_003 * (1 + number) + 10_007 * place for seed in seeds]
                self._draws[id(influence)] = RowStreams(own)

    # For subclasses

    @abstractmethod
    def _values(self, state: np.ndarray) -> np.ndarray:
        """Action values `[B, A]` in the states `[B]`, observed levels included."""

    @abstractmethod
    def _value(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Value `[B]` of the actions `[B]` in the states `[B]`."""

    @abstractmethod
    def _exploration(self) -> np.ndarray:
        """Probability `[B]` of a random action."""

    @abstractmethod
    def _learn(self, transition: Transition, resting: np.ndarray | None) -> None:
        """Learns from one step of the rows that are not in `resting` `[B]` bool."""

    # For users

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Episodes begin where `rows` `[B]` bool is set."""
        for channel in self.channels:
            channel.emotion.begin(rows, situation)
        self._here = np.where(rows, self._number(situation), self._here)

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
        self._here = self._number(situation)  # what is felt after the step may change the number
        values = self._values(self._here)  # [B, A]
        explore = (
            np.full(len(self._rows), float(epsilon)) if epsilon is not None else self._exploration()
        )
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
            learning: Whether the values change; emotions are felt in any case.
        """
        value = self._value(self._here, action)
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

    # Inside

    def _number(self, situation: Situation) -> np.ndarray:
        """Numbers `[B]` of the states, observed levels included."""
        number = situation.state
        if self._parts > 1:
            for channel in self.channels:
                part = (channel.emotion.level * self._parts).astype(np.int64)
                number = number * self._parts + np.clip(part, 0, self._parts - 1)
        return number

    def _shaped(self, transition: Transition) -> np.ndarray:
        """The reward `[B]` to learn from."""
        reward = transition.reward
        for channel in self.channels:
            for influence in channel.influences:
                reward = influence.reward(reward, channel.level, transition)
        return reward

    def _tell(self, transition: Transition, error: np.ndarray, resting: np.ndarray | None) -> None:
        """Tells the emotions what the temporal-difference errors `[B]` were."""
        for channel in self.channels:
            kept = None if resting is None else channel.emotion.kept(resting)
            channel.emotion.learned(transition, error)
            if resting is not None and kept is not None:
                channel.emotion.put_back(resting, kept)

    def _draw(self, influence: Influence, active: np.ndarray | None) -> np.ndarray:
        return self._draws[id(influence)].uniform(1, active)[:, 0]

    def _greedy(self, values: np.ndarray, draws: np.ndarray) -> np.ndarray:
        if self._ties == "first":
            return values.argmax(axis=1)
        best = values == values.max(axis=1, keepdims=True)  # [B, A]
        chosen = (draws * best.sum(axis=1)).astype(np.int64)  # which of the best, from 0
        return (best.cumsum(axis=1) > chosen[:, None]).argmax(axis=1)
