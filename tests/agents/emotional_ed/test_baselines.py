"""Learners without emotions, and signals without meaning, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Channel, Emotion, QConfig, QLearner, Situation, Transition
from erm_gym.agents.emotional_ed.baselines import count_bonus, pearce_hall, sticky
from erm_gym.agents.emotional_ed.controls import Levelled, Placebo
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.harm import IntrinsicFear
from erm_gym.agents.emotional_ed.shaping import PotentialShaping, Shaping

Look = Callable[..., Situation]
Step = Callable[..., Transition]
ONE = np.ones(1, bool)


def learn(learner: QLearner, before: Situation, after: Situation, reward: float) -> None:
    learner.act(before)
    action, rewards = np.zeros(1, int), np.array([reward])
    learner.observe(before, action, rewards, after, np.zeros(1, bool), active=ONE)


@pytest.mark.parametrize(("blocked", "expected"), [(1.0, 0.8), (0.0, 0.0)])
def test_a_sticky_learner_repeats(look: Look, blocked: float, expected: float) -> None:
    rows = 2000
    channels = sticky(0.8, when_blocked=True)
    learner = QLearner(range(rows), 1, 2, QConfig(epsilon=0.0, ties="first"), channels)
    here = look([0] * rows, [1] * rows, blocked=[blocked] * rows)
    assert learner.act(here).mean() == pytest.approx(expected, abs=0.03)
    start = look([0] * rows, [-1] * rows, blocked=[blocked] * rows)
    assert not learner.act(start).any()


def test_a_count_bonus_shrinks_with_visits(look: Look) -> None:
    learner = QLearner([0], 1, 2, QConfig(epsilon=0.0, learning_rate=0.1), count_bonus(1.0))
    here = look([0])
    learner.table[0, 0] = [0.0, -0.4]
    # 1 / sqrt(1 + n): 1 against .6, then .707 against .6, then .577 against .6
    assert learner.act(here)[0] == 0
    learner.observe(here, np.array([0]), np.zeros(1), here, ONE, active=ONE)
    assert learner.act(here)[0] == 0
    learner.observe(here, np.array([0]), np.zeros(1), here, ONE, active=ONE)
    assert learner.act(here)[0] == 1


def test_pearce_hall_learns_faster_after_a_surprise(look: Look) -> None:
    config = QConfig(learning_rate=0.1, discount=0.0)
    learner = QLearner([0], 1, 1, config, pearce_hall(0.4, 0.1))
    here = look([0])
    learn(learner, here, here, 1.0)
    assert learner.table[0, 0, 0] == pytest.approx(0.1)  # nothing was surprising yet
    learn(learner, here, here, 1.0)  # A = .3, rate .1 + .4 * .3 = .22, error .9
    assert learner.table[0, 0, 0] == pytest.approx(0.1 + 0.22 * 0.9)


def test_shaping_takes_the_level_off_the_reward(step: Step) -> None:
    transition = step(reward=[1.0], terminated=[False])
    found = Shaping(0.5).reward(transition.reward, np.array([0.4]), transition)
    assert found == pytest.approx(0.8)


def test_potentials_add_up_to_nothing_but_the_first(step: Step, look: Look) -> None:
    shaping = PotentialShaping(cost=2.0, discount=1.0)
    levels = [0.3, 0.9, 0.1]
    total = 0.0
    for now, after in zip(levels, [*levels[1:], 0.7], strict=True):
        shaping.values(np.zeros((1, 2)), np.array([now]), look([0]))
        end = step(reward=[0.0], terminated=[after == 0.7])
        total += float(shaping.reward(np.zeros(1), np.array([after]), end)[0])
    assert total == pytest.approx(2.0 * levels[0])  # minus the potential of the first state


class Told(Emotion):
    """Feels what the context says."""

    def feel(self, transition: Transition) -> None:
        self.level[:] = transition.after.context["told"]


def test_a_placebo_feels_what_another_row_felt(look: Look, step: Step) -> None:
    placebo = Placebo(Told())
    placebo.allocate(2, 1, 1)
    placebo.begin(np.ones(2, bool), look([0, 0]))
    assert placebo.level.tolist() == [0.0, 0.0]
    seen: list[list[float]] = [[], []]
    for told in range(1, 400):
        values = [told / 1000, told / 1000 + 0.5]
        placebo.feel(step(reward=[0.0, 0.0], told=values))
        if told % 10 == 0:
            placebo.begin(np.ones(2, bool), look([0, 0]))
        for row in range(2):
            seen[row].append(placebo.level[row])
    assert min(seen[0]) > 0.5 > max(seen[1])  # each feels the other's
    steps = np.round(np.diff(seen[0]), 6)
    assert np.mean(steps == 0.001) > 0.5  # in the order it was felt
    told_then = 0.5 + np.arange(1, 400) / 1000
    assert np.mean(np.isclose(seen[0], told_then)) < 0.1  # but not when it was felt


def test_a_placebo_needs_another_row() -> None:
    channel = Channel(Placebo(ProximityFear()), ())
    with pytest.raises(ValueError, match="a placebo needs at least 2 rows, got 1"):
        QLearner([0], 1, 1, channels=[channel])


def test_a_constant_level_leaves_the_memory_alone(step: Step) -> None:
    felt, levelled = IntrinsicFear(), Levelled(IntrinsicFear(), np.array([0.2, 0.7]))
    for emotion in (felt, levelled):
        emotion.allocate(2, 3, 2)
        emotion.feel(step(reward=[-1.0, 0.0], state=[1, 2]))
    assert levelled.level.tolist() == [0.2, 0.7]
    np.testing.assert_array_equal(levelled.emotion.dangerous, felt.dangerous)  # type: ignore[attr-defined]
    resting = np.array([True, False])
    kept = levelled.kept(resting)
    levelled.feel(step(reward=[-1.0, 0.0], state=[1, 2]))
    levelled.put_back(resting, kept)
    assert levelled.emotion.seen.tolist() == [[0, 1, 0], [0, 0, 2]]  # type: ignore[attr-defined]
