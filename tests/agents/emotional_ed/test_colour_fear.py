"""Fear of colours, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Choice, Situation, Transition
from erm_gym.agents.emotional_ed.colour_fear import ColourFear, ShunsThreats, ThreatColourFear

Step = Callable[..., Transition]
Look = Callable[..., Situation]


def test_a_hit_teaches_to_fear_what_is_near(step: Step, look: Look) -> None:
    fear = ThreatColourFear()
    fear.allocate(1, 1, 4)
    for hits, colour in enumerate((0.3, 0.6, 0.9, 1.0), start=1):
        fear.feel(step(hit=[1.0], threat_distance=[0.0]))
        assert fear.colour[0] == pytest.approx(colour), hits
    fear.feel(step(hit=[0.0], threat_distance=[1.0]))
    assert fear.level[0] == pytest.approx(2 / 3)
    fear.begin(np.ones(1, bool), look([0], threat_distance=[2.0]))
    assert fear.level[0] == pytest.approx(1 / 3)


def test_steps_onto_threats_are_shunned(look: Look) -> None:
    fear = ThreatColourFear()
    fear.allocate(3, 1, 4)
    fear.colour[:] = 0.6
    influence = ShunsThreats(fear)
    here = look([0, 0, 0], next_threat=np.array([[0, 1, 0, 0]] * 3))
    level = np.array([0.6, 0.2, 0.4])
    found = influence.values(np.zeros((3, 4)), level, here)
    expected = np.array([[0, -12.0, 0, 0], [0, 0, 0, 0], [0, -12.0, 0, 0]])
    np.testing.assert_allclose(found, expected)
    explored = np.array([True, True, False])
    choice = Choice(action=np.array([1, 1, 1]), explored=explored, values=found)
    # the first row's weights are 1, .4, 1 and 1 of 3.4: .5 falls into the third
    drawn = influence.action(choice, level, here, lambda: np.full(3, 0.5))
    assert drawn.tolist() == [2, 1, 1]
    drawn = influence.action(choice, level, here, lambda: np.full(3, 0.35))
    assert drawn.tolist() == [1, 1, 1]


def test_one_of_two_colours_is_feared(step: Step) -> None:
    fear = ColourFear()
    fear.allocate(2, 1, 4)
    fear.feel(step(colour=[1.0, 1.0], hit=[1.0, 0.0]))
    np.testing.assert_allclose(fear.level, [0.7, -0.7])
    fear.feel(step(colour=[0.0, -1.0], hit=[0.0, 1.0]))
    np.testing.assert_allclose(fear.level, [0.7, -0.91])
