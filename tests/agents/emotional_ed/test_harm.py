"""Harm and the learned fear of it, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.harm import Harm, IntrinsicFear

Step = Callable[..., Transition]


def test_a_step_harms_if_it_costs_half_of_the_worst(step: Step) -> None:
    harm = Harm()
    harm.allocate(1, 2, 2)
    found = []
    for reward in (-0.1, -2.0, -0.1, -1.0, 3.0):
        harm.feel(step(reward=[reward]))
        found.append(float(harm.level[0]))
    assert found == [0.1, 2.0, 0.0, 1.0, 0.0]


def test_what_led_to_harm_is_feared(step: Step) -> None:
    fear = IntrinsicFear()
    fear.allocate(1, 9, 2)
    every = np.ones(1, bool)
    fear.begin(every, step(reward=[0.0], state=[0]).before)
    for state in range(6):  # harm comes in state 5; 0 lies six steps before it
        last = state == 5
        fear.feel(step(reward=[-2.0 if last else 0.0], state=[state], after=[state + 1]))
    assert (fear.dangerous[0] / np.maximum(1, fear.seen[0])).tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0]
    fear.begin(every, step(reward=[0.0], state=[3]).before)
    assert fear.level.tolist() == [2.0]
    fear.feel(step(reward=[0.0], state=[3], after=[3]))  # left once more, and nothing came of it
    assert fear.level.tolist() == [1.0]


def test_harm_of_one_episode_does_not_follow_from_the_last(step: Step) -> None:
    fear = IntrinsicFear()
    fear.allocate(1, 4, 2)
    fear.feel(step(reward=[0.0], state=[0]))
    fear.begin(np.ones(1, bool), step(reward=[0.0], state=[1]).before)
    fear.feel(step(reward=[-1.0], state=[1]))
    assert fear.dangerous[0].tolist() == [0, 1, 0, 0]
