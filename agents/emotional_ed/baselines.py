"""Learners without emotions that use what emotional ones use: channels of plain arithmetic."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel, Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition


class Sticky(Influence):
    """Repeats the last action with some probability.

    Args:
        probability: In [0, 1], a number or `[B]`.
        when_blocked: Whether only after a move that was blocked, as `blocked` in the context says.
    """

    def __init__(self, probability: float | np.ndarray, *, when_blocked: bool = False) -> None:
        self.probability = probability
        self.when_blocked = when_blocked

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Repeats."""
        repeated = (draw() < self.probability * level) & (situation.last_action >= 0)
        if self.when_blocked:
            repeated &= situation.context["blocked"] > 0.0
        return np.where(repeated, situation.last_action, choice.action)


def sticky(probability: float | np.ndarray, *, when_blocked: bool = False) -> list[Channel]:
    """A learner that repeats actions; see `Sticky`."""
    return [Channel(Constant(), [Sticky(probability, when_blocked=when_blocked)])]


class Visits(Emotion):
    """Counts how often each action was taken in each state; its level is always 1."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Begins at 0."""
        super().allocate(rows, states, actions)
        self.level[:] = 1.0
        self.counts = np.zeros((rows, states, actions))
        self._rows = np.arange(rows)

    def feel(self, transition: Transition) -> None:
        """Counts one action in every row that counts."""
        place = (self._rows, transition.before.state, transition.action)
        self.counts[place] += transition.active

    def of(self, state: np.ndarray) -> np.ndarray:
        """Counts `[B, A]` of the actions in states `[B]`."""
        counts: np.ndarray = self.counts[self._rows, state]
        return counts


class VisitBonus(Influence):
    """`Q + size / sqrt(1 + n(s, a))`.

    Args:
        visits: Who counts.
        size: A number or `[B]`.

    Source: Strehl & Littman 2008, as a bonus to choose by.
    """

    def __init__(self, visits: Visits, size: float | np.ndarray) -> None:
        self.visits = visits
        self.size = size

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Adds the bonus."""
        size = np.broadcast_to(self.size * level, len(values))[:, None]
        return values + size / np.sqrt(1.0 + self.visits.of(situation.state))


def count_bonus(size: float | np.ndarray) -> list[Channel]:
    """A learner that prefers what it seldom did; see `VisitBonus`."""
    visits = Visits()
    return [Channel(visits, [VisitBonus(visits, size)])]


class Associability(Emotion):
    """How surprising each action in each state was of late: `A += eta (min(1, |error|) - A)`.

    Args:
        eta: In (0, 1].

    Attributes:
        table: `[B, S, A]` in [0, 1]; 0 at first.

    Source: Pearce & Hall 1980, as Emotional-ED, section 3, has it.
    """

    def __init__(self, eta: float = 0.3) -> None:
        self.eta = eta

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Begins at 0."""
        super().allocate(rows, states, actions)
        self.level[:] = 1.0
        self.table = np.zeros((rows, states, actions))
        self._rows = np.arange(rows)

    def learned(self, transition: Transition, error: np.ndarray) -> None:
        """Moves towards the size of the error."""
        place = (self._rows, transition.before.state, transition.action)
        step = self.eta * (np.minimum(1.0, np.abs(error)) - self.table[place])
        self.table[place] += np.where(transition.active, step, 0.0)


class PearceHall(Influence):
    """Adds `slope * associability` to the learning rate, which stays at most 1.

    Args:
        associability: What is known of actions.
        slope: What a surprise of 1 adds to the rate, a number or `[B]`.
        learning_rate: Of the learner, a number or `[B]`.
    """

    def __init__(
        self,
        associability: Associability,
        slope: float | np.ndarray,
        learning_rate: float | np.ndarray,
    ) -> None:
        self.associability = associability
        self.slope = slope
        self.learning_rate = learning_rate

    def gain(self, error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """The rate in units of the learner's own."""
        rows = np.arange(len(error))
        known = self.associability.table[rows, transition.before.state, transition.action]
        rate = np.minimum(1.0, self.learning_rate + self.slope * level * known)
        gain: np.ndarray = rate / self.learning_rate
        return gain


def pearce_hall(slope: float | np.ndarray, learning_rate: float | np.ndarray) -> list[Channel]:
    """A learner whose rate follows its surprise; see `PearceHall`."""
    associability = Associability()
    return [Channel(associability, [PearceHall(associability, slope, learning_rate)])]
