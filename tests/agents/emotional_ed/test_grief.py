"""Grief, in numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erm_gym.agents.emotional_ed import Transition
from erm_gym.agents.emotional_ed.grief import Grief, numbed
from erm_gym.agents.emotional_ed.grief_agents import PARTS, grieving, looks_once

Step = Callable[..., Transition]


def test_attachment_becomes_grief_that_fades(step: Step) -> None:
    grief = Grief()
    grief.allocate(1, 25, 4)
    found = step(picked=[1.0], since_loss=[0.0], after=[12])
    for _ in range(3):
        grief.feel(found)
    np.testing.assert_allclose(grief.attachment, [0.3])
    np.testing.assert_allclose(grief.level, [0.0])
    grief.feel(step(picked=[0.0], since_loss=[1.0], after=[12]))
    np.testing.assert_allclose(grief.level, [0.3])
    grief.feel(step(picked=[0.0], since_loss=[2.0], after=[12]))
    np.testing.assert_allclose(grief.level, [0.3 * 0.98 * (1 - np.sqrt(1 / 80))])
    grief.feel(step(picked=[0.0], since_loss=[21.0], after=[12]))
    np.testing.assert_allclose(grief.level, [0.3 * 0.98**2 * 0.5])
    grief.feel(step(picked=[0.0], since_loss=[90.0], after=[12]))
    np.testing.assert_allclose(grief.level, [0.0])
    grief.begin(np.array([True]), found.before)
    np.testing.assert_allclose([grief.attachment[0], grief.strength[0]], [0.3, 0.0])


def test_attachment_has_a_limit(step: Step) -> None:
    grief = Grief()
    grief.allocate(1, 25, 4)
    for _ in range(12):
        grief.feel(step(picked=[1.0], since_loss=[0.0]))
    np.testing.assert_allclose(grief.attachment, [1.0])


def test_grief_looks_to_where_it_picked_up_last(step: Step) -> None:
    grief = Grief()
    grief.allocate(2, 25, 4)
    before = step(picked=[0.0, 0.0], since_loss=[0.0, 0.0], state=[0, 0]).before
    np.testing.assert_array_equal(grief.homewards(before), np.zeros((2, 4)))
    grief.feel(step(picked=[1.0, 0.0], since_loss=[0.0, 0.0], after=[12, 12]))
    np.testing.assert_array_equal(grief.homewards(before), [[0, 1, 0, 0], [0, 0, 0, 0]])


def test_absence_teaches_little(step: Step) -> None:
    error, level = np.array([-1.0, 1.0, -1.0]), np.array([0.5, 0.5, 2.0])
    factor = numbed(error, level, step(picked=[0.0] * 3))
    np.testing.assert_allclose(factor, [0.55, 1.0, 0.1])


def test_the_fair_agent_goes_back_against_its_values(step: Step) -> None:
    (channel,) = grieving()
    channel.emotion.allocate(1, 25 * PARTS, 4)
    for _ in range(12):
        channel.emotion.feel(step(picked=[1.0], since_loss=[0.0], after=[12 * PARTS + 3]))
    lost = step(picked=[0.0], since_loss=[1.0], after=[10 * PARTS])
    channel.emotion.feel(lost)
    values = np.array([[0.5, 0.2, 0.0, 0.1]])
    biased = channel.influences[0].values(values, channel.level, lost.after)
    np.testing.assert_allclose(biased, [[0.5, 0.2, 0.0, 0.6]])


def test_the_rule_looks_only_while_unsure(step: Step) -> None:
    (channel,) = looks_once()
    channel.emotion.allocate(2, 25 * PARTS, 4)
    channel.emotion.feel(step(picked=[1.0, 1.0], since_loss=[0.0, 0.0], after=[12 * PARTS] * 2))
    here = step(picked=[0.0, 0.0], unsure=[1.0, 0.0], state=[10 * PARTS] * 2).before
    rule = channel.influences[0].rule  # type: ignore[attr-defined]
    np.testing.assert_array_equal(rule(here, np.zeros((2, 4))), [3, -1])
