"""Fear and what makes it smaller, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Emotion, Situation, Transition
from erm_gym.agents.emotional_ed.regulation import PlaceRegulated, StrategyRegulated, TypeRegulated
from erm_gym.agents.emotional_ed.regulation_agents import by_type, regulated

Look = Callable[..., Situation]
Step = Callable[..., Transition]
REAL, FAKE, NONE = [0.0], [1.0], [-1.0]
NEAR = [1.5]
"""Fear 1/2."""


def made(emotion: Emotion) -> Emotion:
    emotion.allocate(1, 3, 4)
    return emotion


def test_what_is_believed_of_a_place(step: Step, look: Look) -> None:
    fear = PlaceRegulated()
    made(fear)
    for reward, kind, believed in (
        (0.5, FAKE, 0.1),
        (0.5, FAKE, 0.19),
        (-0.01, FAKE, 0.19),
        (0.5, REAL, 0.19),  # nothing good comes of a real one
        (-0.5, FAKE, 0.19),
        (-0.5, REAL, 0.171),
    ):
        fear.feel(step(reward=[reward], after=[1], threat_distance=NEAR, type=kind))
        assert fear.belief[0].tolist() == pytest.approx([0.0, believed, 0.0])
        assert fear.level[0] == pytest.approx(0.5 * (1.0 - believed))
    fear.begin(np.ones(1, bool), look([2], threat_distance=NEAR, type=FAKE))
    assert fear.level[0] == 0.5
    assert fear.belief[0, 1] == pytest.approx(0.171)


def test_the_best_strategy_is_used(step: Step, look: Look) -> None:
    fear = StrategyRegulated()
    made(fear)
    fear.begin(np.ones(1, bool), look([1], threat_distance=NEAR))
    assert fear.level[0] == pytest.approx(0.5 * 0.6)
    for reward, effect in (
        (0.5, [0.55, 0.5, 0.5]),
        (-0.2, [0.55, 0.5, 0.5]),
        (-0.5, [0.495, 0.5, 0.5]),
        (0.5, [0.495, 0.55, 0.5]),  # another one is better now
    ):
        fear.feel(step(reward=[reward], after=[1], threat_distance=NEAR))
        assert fear.effect[0, 1].tolist() == pytest.approx(effect)
        assert fear.level[0] == pytest.approx(0.5 * (1.0 - 0.8 * max(effect)))


def test_what_is_believed_of_a_type(step: Step, look: Look) -> None:
    fear = TypeRegulated()
    made(fear)
    fear.begin(np.ones(1, bool), look([0], threat_distance=NEAR, type=FAKE))
    assert fear.level[0] == pytest.approx(0.5 * 2 / 3)
    for reward, kind, belief in (
        (0.49, FAKE, [1 / 3, 2 / 4]),
        (-0.51, REAL, [1 / 4, 2 / 4]),
        (-0.01, FAKE, [1 / 4, 3 / 5]),
        (-0.51, NONE, [1 / 4, 3 / 5]),
    ):
        fear.feel(step(reward=[reward], threat_distance=NEAR, type=FAKE, contact=kind))
        assert fear.belief[0].tolist() == pytest.approx(belief)
        assert fear.level[0] == pytest.approx(0.5 * (1.0 - belief[1]))
    fear.begin(np.ones(1, bool), look([0], threat_distance=NEAR, type=REAL))
    assert fear.level[0] == pytest.approx(0.5 * 3 / 4)
    fear.begin(np.ones(1, bool), look([0], threat_distance=[12.0], type=NONE))
    assert fear.level[0] == 0.0


def test_a_type_that_is_seen_on_contact_only_is_not_feared_from_afar(step: Step) -> None:
    fear = TypeRegulated(seen="contact")
    made(fear)
    fear.feel(step(reward=[-0.01], threat_distance=[1.0], type=REAL, contact=NONE))
    assert fear.level[0] == 0.0
    fear.feel(step(reward=[-0.51], threat_distance=[0.0], type=REAL, contact=REAL))
    assert fear.level[0] == pytest.approx(3 / 4)


def test_fear_changes_what_is_chosen_until_it_is_known_to_be_needless(look: Look) -> None:
    channel = regulated()[0]
    fear = channel.emotion
    assert isinstance(fear, TypeRegulated)
    made(fear)
    values = np.array([[0.0, 0.8, 1.0, 0.0]])
    here = look([0], threat_distance=[1.5], type=FAKE, next_threat_distance=[[2.5, 1.5, 1.0, 2.0]])
    chosen = []
    for contacts in (0.0, 7.0):
        fear.contacts[:] = fear.safe[:] = contacts
        fear.begin(np.ones(1, bool), here)
        chosen.append(channel.influences[0].values(values, channel.level, here))
    # 1 - 2 * 1/2 * 2/3, and 1 - 2 * 1/2 * 1/5
    np.testing.assert_allclose(chosen, [[[0.0, 0.8, 1 / 3, 0.0]], [[0.0, 0.8, 0.8, 0.0]]])


def test_the_rule_goes_by_type(look: Look) -> None:
    following = [[3.2, 1.4, 2.5, 1.0]]
    for kind, distance, expected in (
        (REAL, 2.0, [0.0, -1.0, 0.0, -1.0]),
        (FAKE, 2.0, [0.0, 1.0, 0.0, 1.0]),
        (FAKE, 3.0, [0.0, 0.0, 0.0, 0.0]),
    ):
        here = look([0], threat_distance=[distance], type=kind, next_threat_distance=following)
        np.testing.assert_array_equal(by_type(here), [expected])
