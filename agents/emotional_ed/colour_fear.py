"""Fear of what looks like something that hurt."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel, Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.fear import proximity
from erm_gym.agents.emotional_ed.forms import Bonus
from erm_gym.agents.emotional_ed.moments import Choice, Situation, Transition

REACH = 3.0


class ThreatColourFear(Emotion):
    """How much the threats' colour is feared, times how near the nearest one is.

    The fear of the colour gains .3 with every hit, up to 1, and never fades; the level is it times
    `max(0, 1 - d / 3)`.

    Attributes:
        colour: `[B]`, the fear of the colour.

    Source: Emotional-ED, experiment 21.
    """

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.colour = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Fears what is near; nothing is forgotten."""
        near = proximity(situation.context["threat_distance"], REACH)
        self.level[rows] = (self.colour * near)[rows]

    def feel(self, transition: Transition) -> None:
        """Learns from a hit."""
        context = transition.after.context
        self.colour[:] = np.minimum(1.0, self.colour + 0.3 * context["hit"])
        self.level[:] = self.colour * proximity(context["threat_distance"], REACH)


class ShunsThreats(Influence):
    """Takes 20 times the fear of the colour off steps onto a threat, where e > .2.

    Random steps onto a threat are `1 - e` times as likely as others, where e > .3.

    Args:
        fear: Whose fear of the colour it is.

    Source: Emotional-ED, experiment 21.
    """

    def __init__(self, fear: ThreatColourFear) -> None:
        self.fear = fear

    def values(self, values: np.ndarray, level: np.ndarray, situation: Situation) -> np.ndarray:
        """Takes the malus off."""
        size = np.where(level > 0.2, 20.0 * self.fear.colour, 0.0)
        return values - size[:, None] * situation.context["next_threat"]

    def action(
        self, choice: Choice, level: np.ndarray, situation: Situation, draw: Draw
    ) -> np.ndarray:
        """Draws random steps again."""
        weights = 1.0 - np.minimum(1.0, level)[:, None] * situation.context["next_threat"]  # [B, A]
        weights = np.maximum(weights, 1e-12)
        bounds = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
        drawn = np.minimum((draw()[:, None] >= bounds).sum(axis=1), weights.shape[1] - 1)
        return np.where(choice.explored & (level > 0.3), drawn, choice.action)


class ColourFear(Emotion):
    """Which of two colours is feared: 1 for the first, -1 for the second, in [-1, 1].

    A hit by a colour moves it `rate` of the way to that colour, an object that does not hurt as far
    to the other one. An episode begins without fear.
    """

    rate = 0.7

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets."""
        self.level[rows] = 0.0

    def feel(self, transition: Transition) -> None:
        """Learns from what was entered."""
        context = transition.after.context
        colour = context["colour"]
        feared = np.where(context["hit"] > 0.0, colour, -colour)
        moved = self.level + self.rate * (feared - self.level)
        self.level[:] = np.where(colour != 0.0, moved, self.level)


def other_colour(situation: Situation) -> np.ndarray:
    """-1 for actions `[B, A]` that enter the first colour, 1 for the second, else 0."""
    return -situation.context["next_colour"]


def shuns_colours() -> list[Channel]:
    """A bonus against the feared colour, and for the other one."""
    return [Channel(ColourFear(), [Bonus(other_colour, size=0.5, relative=True)])]


def never_onto_feared() -> list[Channel]:
    """The rule: never onto the colour that is known to hurt."""
    return [Channel(ColourFear(), [Bonus(onto_feared, size=-100.0)])]


def onto_feared(situation: Situation) -> np.ndarray:
    """1 for actions `[B, A]` that enter the first colour, -1 for the second, else 0."""
    return situation.context["next_colour"]
