"""Fear, pull and both at once, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Choice, Situation, Transition
from erm_gym.agents.emotional_ed.conflict import NoisyValues, Standoff, Weighed, standard_normal
from erm_gym.agents.emotional_ed.conflict_agents import AlertFear, CalmPull, by_temper

Look = Callable[..., Situation]
Step = Callable[..., Transition]
AT_TWO = {"threat_distance": [2.0], "risky_distance": [1.0], "risky_left": [1.0]}
"""One cell before the risky reward: fear 1/3, pull 2/3."""


def felt(emotion: Weighed, transition: Transition) -> float:
    emotion.allocate(1, 1, 4)
    emotion.begin(np.ones(1, bool), transition.before)
    emotion.feel(transition)
    return float(emotion.level[0])


@pytest.mark.parametrize(
    ("emotion", "changed", "expected"),
    [
        (Weighed(fear=1.0, pull=0.0), {}, 1 / 3),
        (Weighed(fear=0.0, pull=1.0), {}, 2 / 3),
        (Weighed(fear=0.0, pull=1.0), {"risky_left": [0.0]}, 0.0),
        (Weighed(fear=0.0, pull=1.0), {"threat_distance": [2.5]}, 0.0),
        (Weighed(fear=1.0, pull=-0.3), {}, 1 / 3 - 0.2),
        (Weighed(fear=-0.3, pull=1.0), {}, 2 / 3 - 0.1),
        (Weighed(fear=0.3, pull=-1.0), {}, 0.0),  # 0.1 - 2 / 3, cut
        (Standoff(), {}, 1 / 3),
        (Standoff(), {"risky_left": [0.0]}, 0.0),
        (AlertFear(), {"alert": [1.0]}, 1 / 3),
        (AlertFear(), {"alert": [0.0]}, 0.0),
        (CalmPull(), {"alert": [0.0]}, 2 / 3),
        (CalmPull(), {"alert": [1.0]}, 0.0),
    ],
)
def test_levels(
    emotion: Weighed, changed: dict[str, list[float]], expected: float, step: Step
) -> None:
    assert felt(emotion, step(reward=[0.0], **(AT_TWO | changed))) == pytest.approx(expected)


def test_noise_acts_above_a_level_of_three_tenths_and_not_on_random_moves(look: Look) -> None:
    rows = 4000
    values = np.tile([0.1, 0.0], (rows, 1))
    explored = np.arange(rows) % 2 == 0
    choice = Choice(action=np.zeros(rows, int), explored=explored, values=values)
    generator = np.random.default_rng(0)

    def draw() -> np.ndarray:
        return generator.random(rows)

    noise = NoisyValues()
    here = look([0] * rows)
    assert (noise.action(choice, np.full(rows, 0.3), here, draw) == 0).all()
    action = noise.action(choice, np.ones(rows), here, draw)
    assert (action[explored] == 0).all()
    # the difference of two normals of deviation .1 exceeds .1 with probability .24
    assert action[~explored].mean() == pytest.approx(0.24, abs=0.03)


def test_normal_numbers() -> None:
    generator = np.random.default_rng(0)
    drawn = standard_normal(lambda: generator.random(20_000))
    assert drawn.mean() == pytest.approx(0.0, abs=0.03)
    assert drawn.std() == pytest.approx(1.0, abs=0.02)


def test_the_rule_minds_the_threats_temper(look: Look) -> None:
    context = {
        "risky_distance": [1.0],
        "next_risky_distance": [[1.4, 1.4, 2.0, 0.0]],
        "next_threat_distance": [[2.2, 2.2, 3.0, 1.0]],
    }
    alert = look([0], alert=[1.0], risky_left=[1.0], **context)
    np.testing.assert_array_equal(by_temper(alert), [[0.0, 0.0, 0.0, -1.0]])
    calm = look([0], alert=[0.0], risky_left=[1.0], **context)
    np.testing.assert_array_equal(by_temper(calm), [[0.0, 0.0, 0.0, 1.0]])
    taken = look([0], alert=[0.0], risky_left=[0.0], **context)
    np.testing.assert_array_equal(by_temper(taken), np.zeros((1, 4)))
