"""Curiosity about cells that an episode has not seen yet, and what it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Context, Situation, Transition


def novelty(visits: np.ndarray) -> np.ndarray:
    """`1 / (1 + N)` of visits N >= 0, of any shape."""
    return 1.0 / (1.0 + visits)


def neighbour_novelty(context: Context) -> np.ndarray:
    """Novelty `[B, A]` of the cell that each action enters; 0 where the way is blocked."""
    return novelty(context["next_visits"]) * (1.0 - context["next_blocked"])


def towards_novelty(situation: Situation) -> np.ndarray:
    """`neighbour_novelty` as a direction, `[B, A]`."""
    return neighbour_novelty(situation.context)


def least_visited(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The action `[B]` into the neighbour least often visited; of equals the most valuable one."""
    fresh = neighbour_novelty(situation.context)
    best = fresh == fresh.max(axis=1, keepdims=True)
    return np.where(best, values, -np.inf).argmax(axis=1)


@dataclass
class Curiosity(Emotion):
    """`min(1, .5 (1 / (1 + N) + stagnation))` in a cell visited N times in this episode.

    `stagnation = min(.5, t / 100)` once t > 20 steps have brought no new cell, else 0.

    Source: Emotional-ED, experiment 17.
    """

    only_while: str | None = None
    """Which part of the context says, as 1 or 0, whether there is something to find; by default
    curiosity never ends, as published."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the level, and the steps since a new cell was entered."""
        super().allocate(rows, states, actions)
        self._stale = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets what was seen."""
        self._stale[rows] = 0.0
        self.level[rows] = self._felt(situation.context)[rows]

    def feel(self, transition: Transition) -> None:
        """Looks how new the entered cell is."""
        context = transition.after.context
        self._stale[:] = np.where(context["visits"] > 1.0, self._stale + 1.0, 0.0)
        self.level[:] = self._felt(context)

    def _felt(self, context: Context) -> np.ndarray:
        stagnation = np.where(self._stale > 20.0, np.minimum(0.5, self._stale / 100.0), 0.0)
        felt = np.minimum(1.0, 0.5 * (novelty(context["visits"]) + stagnation))
        return felt if self.only_while is None else felt * context[self.only_while]


@dataclass(frozen=True)
class NoveltyBonus(Influence):
    """`Q[a] += size / (1 + N)` of the cell that a enters, at every level above a threshold."""

    size: float = 2.5
    """Bonus of a cell that was never visited."""
    threshold: float = 0.2
    """The level above which it acts."""

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Adds the bonus."""
        size = np.where(level > self.threshold, self.size, 0.0)[:, None]
        return values + size * towards_novelty(situation)


@dataclass(frozen=True)
class NovelExploration(Influence):
    """Draws random moves in proportion to the novelty of the cells that they enter."""

    threshold: float = 0.3
    """The level above which it acts."""

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Replaces random actions, except where every way is blocked."""
        shares = towards_novelty(situation).cumsum(axis=1)  # [B, A]
        drawn = (shares > draw()[:, None] * shares[:, -1:]).argmax(axis=1)
        replaced = choice.explored & (level > self.threshold) & (shares[:, -1] > 0.0)
        return np.where(replaced, drawn, choice.action)


@dataclass(frozen=True)
class NoveltyReward(Influence):
    """Adds `size / (1 + N)` to the reward, with N visits of the entered cell before this one."""

    size: float = 0.1
    """Reward of a cell that was never visited."""

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Adds the reward."""
        fresh = novelty(transition.after.context["visits"] - 1.0)
        return reward + np.where(level > 0.0, self.size * fresh, 0.0)
