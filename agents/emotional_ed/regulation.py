"""Fear that what is known of a threat makes smaller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erm_gym.agents.emotional_ed.channel import Emotion
from erm_gym.agents.emotional_ed.fear import proximity
from erm_gym.agents.emotional_ed.moments import Situation, Transition

REAL, FAKE = 0, 1
"""Types of threats, as the context has them."""
BAD = -0.1
"""The reward below which a step is bad."""


def learned(belief: np.ndarray, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """A tenth of the way to 1 where it goes `better`, a tenth to 0 where it goes `worse`."""
    return np.where(better, belief + 0.1 * (1.0 - belief), np.where(worse, 0.9 * belief, belief))


class PlaceRegulated(Emotion):
    """`F (1 - b)` of the fear F of the nearer threat, and what is believed of the place.

    The belief grows with a good step beside a fake threat, and shrinks with a bad one beside a real
    one. It belongs to the state that the step ended in, and is never forgotten.

    Attributes:
        belief: `[B, S]` in [0, 1], that the state is safe; 0 at first.

    Source: Emotional-ED, experiment 6.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.belief = self.per_row((states,))
        self._every = np.arange(rows)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Learns about the state that was entered."""
        place = (self._every, transition.after.state)
        kind, reward = transition.after.context["type"], transition.reward
        better, worse = (kind == FAKE) & (reward > 0.0), (kind == REAL) & (reward < BAD)
        self.belief[place] = learned(self.belief[place], better, worse)
        self.level[:] = self._felt(transition.after)

    def _felt(self, situation: Situation) -> np.ndarray:
        doubt: np.ndarray = 1.0 - self.belief[self._every, situation.state]
        return proximity(situation.context["threat_distance"]) * doubt


class StrategyRegulated(Emotion):
    """`F (1 - .8 e)` of the fear F and the effect e of the best of three strategies in a state.

    A good step makes the strategy that was used there count for more, a bad one for less.

    Attributes:
        effect: `[B, S, 3]` in [0, 1]; .5 at first. It is never forgotten.

    Source: Emotional-ED, experiment 6; that the best strategy is used, the first of equally good
    ones, is our own.
    """

    strategies = 3
    bad = -0.2
    """The reward below which a step is bad."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.effect = self.per_row((states, self.strategies), fill=0.5)
        self._every = np.arange(rows)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Learns about the strategy of the state that was entered."""
        state, reward = transition.after.state, transition.reward
        used = (self._every, state, self.effect[self._every, state].argmax(axis=1))
        self.effect[used] = learned(self.effect[used], reward > 0.0, reward < self.bad)
        self.level[:] = self._felt(transition.after)

    def _felt(self, situation: Situation) -> np.ndarray:
        best = self.effect[self._every, situation.state].max(axis=1)
        return proximity(situation.context["threat_distance"]) * (1.0 - 0.8 * best)


@dataclass
class TypeRegulated(Emotion):
    """`F (1 - b)` of the fear F of the nearer threat, and what is believed of its type.

    Contacts with a type are counted, and those in which nothing bad happened: b = (safe + 1) /
    (contacts + 3). They are never forgotten.

    Attributes:
        contacts: `[B, 2]`, by type.
        safe: `[B, 2]`, by type.

    Source: Emotional-ED, experiment 6, the second version.
    """

    seen: str = "type"
    """Which part of the context is the type that is feared, -1 for none: `type` where it is seen
    from afar, `contact` where it is not, so that nothing is feared before it is met, as in the
    original."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.contacts = self.per_row((2,))
        self.safe = self.per_row((2,))
        self._every = np.arange(rows)

    @property
    def belief(self) -> np.ndarray:
        """`[B, 2]` in (0, 1), that a type is safe; 1/3 at first."""
        return (self.safe + 1.0) / (self.contacts + 3.0)

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near."""
        self.level[rows] = self._felt(situation)[rows]

    def feel(self, transition: Transition) -> None:
        """Learns from a contact."""
        met = transition.after.context["contact"].astype(np.int64)
        there = np.arange(2) == met[:, None]  # [B, 2]
        self.contacts += there
        self.safe += there & (transition.reward >= BAD)[:, None]
        self.level[:] = self._felt(transition.after)

    def _felt(self, situation: Situation) -> np.ndarray:
        context = situation.context
        kind = context[self.seen].astype(np.int64)
        doubt = 1.0 - self.belief[self._every, np.maximum(kind, REAL)]
        return np.where(kind < REAL, 0.0, proximity(context["threat_distance"]) * doubt)
