"""The six forms in which the published agents let an emotion act, each on its own.

Forms A and B move action values by their rank, C scales the best one, D adds to actions that a rule
names, E overrides the choice, X changes how much is explored. A never changes the greedy action,
and C cannot either while the best value is positive: they are here to show it.

Source: Emotional-ED, section 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Draw, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition

Direction = Callable[[Situation], np.ndarray]
"""How much an action is meant, `[B, A]`: 1 for those that get a bonus, say."""
Gain = Callable[[np.ndarray, np.ndarray, Transition], np.ndarray]
"""Factor `[B]` of the learning rate from errors `[B]`, level `[B]` and what happened."""


def normalised(values: np.ndarray) -> np.ndarray:
    """`(Q - min Q) / (max Q - min Q)` of each row, 0 where all are equal.

    Args:
        values: `[B, A]`.

    Returns:
        `[B, A]` in [0, 1].
    """
    low = values.min(axis=1, keepdims=True)
    spread = values.max(axis=1, keepdims=True) - low
    return (values - low) / np.where(spread > 0.0, spread, 1.0)


def spread(values: np.ndarray) -> np.ndarray:
    """`max Q - min Q` `[B, 1]` of action values `[B, A]`."""
    return values.max(axis=1, keepdims=True) - values.min(axis=1, keepdims=True)


class RankPreserving(Influence):
    """Form A: `Q + e (Q - min Q) / (max Q - min Q)`. It never changes the greedy action."""

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Stretches the values."""
        return values + level[:, None] * normalised(values)


class RankReversing(Influence):
    """Form B: `Q - e (Q - min Q) / (max Q - min Q)`: reverses all where e > max Q - min Q."""

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Shrinks the values, and turns them round where the emotion exceeds their spread."""
        return values - level[:, None] * normalised(values)


@dataclass(frozen=True)
class ScaledBest(Influence):
    """Form C: `Q[argmax] *= 1 + k`; it can demote the best action where its value is negative."""

    factor: float = 1.0
    """k of a level of 1."""
    threshold: float = 0.0
    """The level above which it acts."""

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Scales the first of the best values."""
        changed = values.copy()
        rows = np.arange(len(values))
        best = values.argmax(axis=1)
        changed[rows, best] *= 1.0 + self.factor * np.where(level > self.threshold, level, 0.0)
        return changed


@dataclass(frozen=True)
class Bonus(Influence):
    """Form D: `Q[a] += size e [e > threshold] direction[a]`."""

    direction: Direction
    """Which actions are meant, and how much."""
    size: float = 1.0
    """Bonus of a level of 1 in a direction of 1."""
    threshold: float = 0.0
    """The level above which it acts."""
    relative: bool = False
    """Whether the size is in units of max Q - min Q, as a bias has to be that is neither lost
    beside large values nor drowns small ones."""

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Adds the bonus."""
        scale = self.size * np.where(level > self.threshold, level, 0.0)[:, None]  # [B, 1]
        if self.relative:
            scale = scale * spread(values)
        return values + scale * self.direction(situation)


@dataclass(frozen=True)
class Override(Influence):
    """Form E: with some probability a rule's action is taken in place of the chosen one."""

    rule: Callable[[Situation, np.ndarray], np.ndarray]
    """Actions `[B]` int from the situation and the action values `[B, A]`; -1 where it has none."""
    probability: Callable[[np.ndarray], np.ndarray]
    """From levels `[B]`, `[B]` in [0, 1]; 0 at level 0."""
    only_explored: bool = False
    """Whether only actions that were chosen at random are replaced."""

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Replaces actions."""
        proposed = self.rule(situation, choice.values)
        replaced = (draw() < self.probability(level)) & (proposed >= 0)
        if self.only_explored:
            replaced &= choice.explored
        return np.where(replaced, proposed, choice.action)


@dataclass(frozen=True)
class Exploration(Influence):
    """Form X: `epsilon = min(ceiling, epsilon + slope e [e > threshold])`."""

    slope: float
    """What a level of 1 adds; negative to explore less."""
    ceiling: float = 1.0
    """Greatest probability of a random action."""
    threshold: float = 0.0
    """The level above which it acts."""

    def epsilon(self, epsilon: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Changes the probability; it is left alone where the level is not above the threshold."""
        changed = np.clip(epsilon + self.slope * level, 0.0, self.ceiling)
        return np.where(level > self.threshold, changed, epsilon)


@dataclass(frozen=True)
class LearningGain(Influence):
    """Scales the learning rate by what is felt about the step that is learned from."""

    factor: Gain
    """The factor; 1 at level 0."""

    def gain(self, error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """The factor."""
        return self.factor(error, level, transition)


@dataclass(frozen=True)
class RiskAversion(Influence):
    """Looks at worse outcomes: `risk = max(floor, risk - slope e)`, for distributional learners."""

    slope: float = 1.0
    """What a level of 1 takes away."""
    floor: float = 0.1
    """The least that is left, in (0, 1]."""

    def risk(self, risk: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Lowers the risk level, but not below the floor."""
        lowered: np.ndarray = np.maximum(np.minimum(self.floor, risk), risk - self.slope * level)
        return lowered
