"""Mood: what lasts of good and bad events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Situation, Transition


class TonicMood(Emotion):
    """A mood in [-1, 1] that rewards in a row move, as published; episodes do not end it.

    `m = clip(.95 m + change, -1, 1)`, where the change is `-.01 n` if n > 5 rewards in a row were
    negative, `.01 n` if n > 3 were above .1, else `-.01 m`. A step's cost is a negative reward.

    Source: Emotional-ED, experiment 8.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.bad = self.per_row()
        self.good = self.per_row()

    def feel(self, transition: Transition) -> None:
        """Counts what comes in a row, and moves."""
        self.bad[:] = np.where(transition.reward < 0.0, self.bad + 1.0, 0.0)
        self.good[:] = np.where(transition.reward > 0.1, self.good + 1.0, 0.0)
        neither = np.where(self.good > 3.0, 0.01 * self.good, -0.01 * self.level)
        change = np.where(self.bad > 5.0, -0.01 * self.bad, neither)
        self.level[:] = np.clip(0.95 * self.level + change, -1.0, 1.0)


@dataclass
class LastingMood(Emotion):
    """How bad, or how good, the events of late were; costs of steps are none.

    `m` goes a third of the way to the valence of every event, -1 or 1, and stays as it is between
    events and episodes. What is felt is the part of m that has the sign.

    Source: our own, after the fair form of Emotional-ED, experiment 8.
    """

    sign: float
    """-1 for bad moods, 1 for good ones."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.mood = self.per_row()

    def feel(self, transition: Transition) -> None:
        """Moves with an event."""
        valence = transition.after.context["valence"]
        self.mood += np.where(valence != 0.0, (valence - self.mood) / 3.0, 0.0)
        self.level[:] = np.maximum(0.0, self.sign * self.mood)


class MoodyRewards(Influence):
    """Losses count `1 + .5 |m|` at moods below -.2, gains `1 + .3 m` at moods above .2.

    Source: Emotional-ED, experiment 8.
    """

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Scales the reward that is learned from."""
        worse = (level < -0.2) & (reward < 0.0)
        better = (level > 0.2) & (reward > 0.0)
        return reward * np.where(worse, 1.0 - 0.5 * level, np.where(better, 1.0 + 0.3 * level, 1.0))


class MoodyExploration(Influence):
    """`epsilon (1 + |m| / 2)`, at most .5; how the original scales it is not known.

    Source: after Emotional-ED, experiment 8.
    """

    def epsilon(self, epsilon: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Explores more the further the mood is from 0."""
        scaled = np.minimum(0.5, epsilon * (1.0 + 0.5 * np.abs(level)))
        return np.where(level == 0.0, epsilon, scaled)


def away_from_middle(situation: Situation) -> np.ndarray:
    """How much further from where threats can be each action leads, `[B, A]` in cells."""
    context = situation.context
    further: np.ndarray = context["next_middle_distance"] - context["middle_distance"][:, None]
    return further


def towards_bonus(situation: Situation) -> np.ndarray:
    """How much nearer to the place of a bonus each action leads, `[B, A]` in cells."""
    context = situation.context
    nearer: np.ndarray = context["bonus_distance"][:, None] - context["next_bonus_distance"]
    return nearer
