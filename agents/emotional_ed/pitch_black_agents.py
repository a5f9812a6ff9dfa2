"""Agents for a key that nobody sees: curiosity while there is something to find, and its rule."""

from __future__ import annotations

import numpy as np

from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.curiosity import (
    Curiosity,
    NovelExploration,
    least_visited,
    towards_novelty,
)
from erm_gym.agents.emotional_ed.forms import Bonus, Override


def certain(level: np.ndarray) -> np.ndarray:
    """Probability 1 at every level above 0."""
    return (level > 0.0).astype(float)


def curious() -> list[Channel]:
    """A bonus towards new cells, and random moves there, until the key is found."""
    influences = (Bonus(towards_novelty, size=4.0, relative=True), NovelExploration(threshold=0.0))
    return [Channel(Curiosity(only_while="sought"), influences)]


def scripted() -> list[Channel]:
    """Always into the least-visited neighbour, until the key is found."""
    return [Channel(Curiosity(only_while="sought"), (Override(least_visited, certain),))]
