"""An emotional channel: an emotion, and the ways in which it acts on a learner.

The emotion says how strong it is; influences say what that does to action values, to exploration,
to the learning rate or to the reward. A published agent is one learner and a short list of
channels. With weight 0 a channel feels and changes nothing: the learner is the plain one, bit for
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition

Draw = Callable[[], np.ndarray]
"""Gives `[B]` random numbers in [0, 1); each influence has its own, so that none shifts what the
learner draws."""


class Emotion:
    """What is felt in each of B rows. Subclasses change `level`, and their own arrays, in place."""

    level: np.ndarray
    """`[B]` float, how strong the emotion is, in [0, 1] unless a subclass says otherwise."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays; called once by the learner.

        Args:
            rows: Rows B.
            states: States S.
            actions: Actions A.
        """
        self._arrays: list[np.ndarray] = []
        self.rows, self.states, self.actions = rows, states, actions
        self.level = self.per_row()

    def per_row(self, shape: tuple[int, ...] = (), fill: float = 0.0) -> np.ndarray:
        """An array `[B, *shape]` that is kept as it is in rows that do not count."""
        array = np.full((self.rows, *shape), fill)
        self._arrays.append(array)
        return array

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """An episode begins where `rows` `[B]` bool is set. By default nothing is forgotten."""

    def feel(self, transition: Transition) -> None:
        """Takes in one step of all rows, before the learner learns from it."""

    def learned(self, transition: Transition, error: np.ndarray) -> None:
        """Takes in the temporal-difference errors `[B]` of the same step."""

    def kept(self, resting: np.ndarray) -> list[np.ndarray]:
        """What the rows in `resting` `[B]` bool hold, for `put_back`."""
        return [array[resting] for array in self._arrays]

    def put_back(self, resting: np.ndarray, kept: Sequence[np.ndarray]) -> None:
        """Undoes what happened to the rows in `resting` since `kept`."""
        for array, values in zip(self._arrays, kept, strict=True):
            array[resting] = values


class Influence:
    """One way in which an emotion acts. Every method returns its input unless it is overridden.

    `level` is `[B]`, the emotion times the channel's weight; at 0 nothing may change.
    """

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Action values `[B, A]` to choose by; what is learned is not touched."""
        return values

    def epsilon(self, epsilon: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Probability `[B]` of a random action."""
        return epsilon

    def risk(self, risk: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Share `[B]` of the worst outcomes that a distributional learner looks at, in (0, 1]."""
        return risk

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """The actions `[B]` that are taken, after the choice; `draw` gives random numbers."""
        return choice.action

    def reward(self, reward: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Reward `[B]` to learn from; what is reported is the environment's."""
        return reward

    def gain(self, error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
        """Factor `[B]` of the learning rate, from the temporal-difference error `[B]`."""
        return np.ones_like(error)

    def lesson(
        self, values: np.ndarray, error: np.ndarray, level: np.ndarray, transition: Transition
    ) -> np.ndarray:
        """What else a step teaches about the state that it left, for tabular learners.

        Args:
            values: `[B, A]`, the state's action values, from which the learner has learned.
            error: `[B]`, the temporal-difference errors of that.
            level: `[B]`.
            transition: The step.

        Returns:
            `[B, A]`, the values that are kept.
        """
        return values


@dataclass
class Channel:
    """An emotion and what it does."""

    emotion: Emotion
    """What is felt."""
    influences: Sequence[Influence]
    """What that changes, in this order."""
    weight: float | np.ndarray = 1.0
    """How much the emotion counts, a number or `[B]`; 0 is as if it were not there."""

    @property
    def level(self) -> np.ndarray:
        """`[B]`, the emotion times the weight."""
        return self.weight * self.emotion.level
