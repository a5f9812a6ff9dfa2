"""Rewards with a fear in them, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.shaping import Always, Penalty, PotentialBased
from erm_gym.agents.emotional_ed.shaping_agents import keep_away, unafraid

Step = Callable[..., Transition]


def test_the_cost_is_of_the_fear_after_the_step(step: Step) -> None:
    fear = ProximityFear(reach=2.0)
    fear.allocate(3, 1, 4)
    transition = step(
        {"threat_distance": [0.0, 1.0, 2.5]},
        before={"threat_distance": [9.0, 9.0, 0.0]},
        reward=[-0.01, -0.01, 1.0],
    )
    fear.feel(transition)
    np.testing.assert_allclose(fear.level, [1.0, 0.5, 0.0])
    reward = Penalty(0.5).reward(transition.reward, fear.level, transition)
    np.testing.assert_allclose(reward, [-0.51, -0.26, 1.0])


def test_a_potential_pays_its_difference_and_is_0_at_the_end(step: Step) -> None:
    transition = step(
        {"threat_distance": [0.0, 3.0, 0.0]},
        before={"threat_distance": [1.5, 0.0, 1.5]},
        reward=[0.0, 0.0, 1.0],
        terminated=[False, False, True],
    )
    influence = PotentialBased(potential=unafraid, discount=0.9)
    reward = influence.reward(transition.reward, np.ones(3), transition)
    # Phi goes from -.5 to -1, from -1 to 0, and from -.5 to the end
    np.testing.assert_allclose(reward, [-0.9 + 0.5, 1.0, 1.5])
    unchanged = influence.reward(transition.reward, np.zeros(3), transition)
    np.testing.assert_array_equal(unchanged, transition.reward)


def test_what_is_always_felt_stays(step: Step) -> None:
    always = Always(0.3)
    always.allocate(2, 1, 4)
    always.feel(step({"threat_distance": [0.0, 1.0]}))
    np.testing.assert_array_equal(always.level, [0.3, 0.3])


def test_the_rule_takes_the_best_action_that_keeps_away(step: Step) -> None:
    context = {"next_threat_distance": [[1.0, 2.0, 2.0, 0.0], [1.0, 1.0, 0.0, 1.4]]}
    situation = step(context).after
    values = np.array([[9.0, 1.0, 2.0, 5.0]] * 2)
    assert keep_away(situation, values) == pytest.approx([2, -1])
