"""Fear of places and of what is near, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition
from erm_gym.agents.emotional_ed.transferred_fear import PlaceFear, WidthFear

Step = Callable[..., Transition]
Look = Callable[..., Situation]


def test_places_are_feared_one_by_one(step: Step, look: Look) -> None:
    fear = PlaceFear()
    fear.allocate(1, 3, 2)
    fear.feel(step(reward=[-0.5], after=[1]))
    fear.feel(step(reward=[-0.5], after=[1]))
    fear.feel(step(reward=[-0.01], after=[1]))
    assert fear.level[0] == pytest.approx(0.95 * 0.4)
    fear.begin(np.ones(1, bool), look([2]))
    assert fear.level[0] == 0.0


def test_the_reach_is_learned_near_the_threat_only(step: Step) -> None:
    fear = WidthFear()
    fear.allocate(3, 1, 2)
    fear.feel(step(reward=[-0.5, 1.0, -0.5], threat_distance=[1.0, 1.0, 2.0]))
    np.testing.assert_allclose(fear.reach, [2.1, 1.95, 2.0])
    np.testing.assert_allclose(fear.level, [1 - 1 / 2.1, 1 - 1 / 1.95, 0.0])
    for _ in range(20):
        fear.feel(step(reward=[-0.5, 1.0, 0.0], threat_distance=[1.0, 1.0, 1.0]))
    np.testing.assert_allclose(fear.reach, [3.0, 1.0, 2.0])
