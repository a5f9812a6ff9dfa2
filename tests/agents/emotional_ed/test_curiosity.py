"""Curiosity: levels, bonus, random moves and reward, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Choice, Situation, Transition
from erm_gym.agents.emotional_ed.curiosity import (
    Curiosity,
    NovelExploration,
    NoveltyBonus,
    NoveltyReward,
    least_visited,
)


def situation(visits: float, next_visits: list[float], sought: float = 1.0) -> Situation:
    context = {
        "visits": np.array([visits]),
        "next_visits": np.array([next_visits]),
        "next_blocked": np.array([[1.0, 0.0, 0.0, 0.0]]),
        "sought": np.array([sought]),
    }
    return Situation(state=np.zeros(1, int), context=context, last_action=np.array([-1]))


HERE = situation(1.0, [1.0, 0.0, 3.0, 4.0])
EVERY = np.ones(1, bool)


def step(after: Situation) -> Transition:
    zero = np.zeros(1)
    return Transition(
        before=HERE,
        action=np.zeros(1, int),
        reward=zero,
        after=after,
        terminated=np.zeros(1, bool),
        value=zero,
        active=EVERY,
    )


def test_levels() -> None:
    curiosity = Curiosity()
    curiosity.allocate(1, 1, 4)
    curiosity.begin(EVERY, HERE)
    assert curiosity.level[0] == 0.25  # .5 / (1 + 1)
    known = situation(4.0, [1.0, 0.0, 3.0, 4.0])
    for _ in range(20):
        curiosity.feel(step(known))
    assert curiosity.level[0] == pytest.approx(0.1)  # .5 / (1 + 4): 20 steps are no stagnation yet
    curiosity.feel(step(known))
    assert curiosity.level[0] == pytest.approx(0.205)  # .5 (.2 + .21)
    curiosity.feel(step(HERE))  # a new cell
    curiosity.feel(step(known))
    assert curiosity.level[0] == pytest.approx(0.1)


def test_it_ends_where_there_is_nothing_to_find() -> None:
    curiosity = Curiosity(only_while="sought")
    curiosity.allocate(1, 1, 4)
    curiosity.begin(EVERY, HERE)
    assert curiosity.level[0] == 0.25
    curiosity.feel(step(situation(1.0, [0.0] * 4, sought=0.0)))
    assert curiosity.level[0] == 0.0


def test_bonus_changes_the_greedy_action() -> None:
    values = np.array([[3.0, 0.0, 1.0, 0.0]])
    changed = NoveltyBonus().values(values, np.array([0.25]), HERE)
    np.testing.assert_allclose(changed, [[3.0, 2.5, 1.625, 0.5]])  # a wall is not new
    at_threshold = NoveltyBonus().values(values, np.array([0.2]), HERE)
    np.testing.assert_array_equal(at_threshold, values)
    low = np.array([[1.0, 0.0, 1.0, 0.0]])
    assert NoveltyBonus().values(low, np.array([0.25]), HERE).argmax() == 1


@pytest.mark.parametrize(
    ("drawn", "action"), [(0.0, 1), (0.68, 1), (0.69, 2), (0.86, 2), (0.87, 3), (0.999, 3)]
)
def test_random_moves_follow_novelty(drawn: float, action: int) -> None:
    # Novelty 0 (wall), 1, 1/4, 1/5: shares 0, .690, .172, .138.
    choice = Choice(action=np.zeros(1, int), explored=EVERY, values=np.zeros((1, 4)))
    taken = NovelExploration().action(choice, np.array([0.31]), HERE, lambda: np.array([drawn]))
    assert taken[0] == action


def test_random_moves_stay_where_nothing_is_felt_or_nothing_was_random() -> None:
    def draw() -> np.ndarray:
        return np.array([0.5])

    values = np.zeros((1, 4))
    random = Choice(action=np.array([3]), explored=EVERY, values=values)
    chosen = Choice(action=np.array([3]), explored=~EVERY, values=values)
    assert NovelExploration().action(random, np.array([0.3]), HERE, draw)[0] == 3
    assert NovelExploration().action(chosen, np.array([0.5]), HERE, draw)[0] == 3


def test_reward() -> None:
    transition = step(situation(3.0, [0.0] * 4))
    reward = NoveltyReward().reward(np.array([10.0]), np.array([0.1]), transition)
    assert reward[0] == pytest.approx(10.0 + 0.1 / 3)  # .1 / (1 + 2), two visits before
    assert NoveltyReward().reward(np.array([10.0]), np.zeros(1), transition)[0] == 10.0


def test_least_visited_neighbour() -> None:
    equal = situation(1.0, [0.0, 2.0, 2.0, 3.0])  # up is a wall, down and left are equally new
    values = np.array([[9.0, 1.0, 2.0, 8.0]])
    assert least_visited(equal, values)[0] == 2
    assert least_visited(HERE, values)[0] == 1
