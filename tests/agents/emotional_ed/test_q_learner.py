"""Q-learning with channels: numbers by hand, limits, and rows that do not know each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from erm_gym.agents import AgentError
from erm_gym.agents.emotional_ed import Channel, QConfig, QLearner, Situation, Transition
from erm_gym.agents.emotional_ed.channel import Influence
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.forms import LearningGain
from erm_gym.agents.emotional_ed.named import home_of, named_agent
from erm_gym.agents.emotional_ed.registry import CLASSIC_AGENTS, ClassicAgent
from erm_gym.evaluation.classic_runs import Episodes, factor_sizes, play

Look = Callable[..., Situation]
ALL = np.ones(1, bool)
EMOTIONAL = sorted(name for name, agent in CLASSIC_AGENTS.items() if agent.channels())


def run(
    agent: ClassicAgent, channels: Sequence[Channel], *, rows: int = 3, episodes: int = 6
) -> tuple[Episodes, QLearner]:
    assert agent.env is not None
    envs = gym.make_vec(agent.env, num_envs=rows, autoreset_mode=AutoresetMode.DISABLED)
    sizes = factor_sizes(envs.single_observation_space)
    actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    learner = agent.learner(range(rows), sizes, actions, channels)
    return play(envs, learner, episodes, seed=100), learner


def test_one_step_by_hand(look: Look) -> None:
    config = QConfig(learning_rate=0.5, discount=0.9)
    learner = QLearner([0], 3, 2, config)
    learner.table[0, 1] = [2.0, 4.0]
    before, after = look([0]), look([1])
    learner.act(before)
    learner.observe(before, np.array([1]), np.array([1.0]), after, np.array([False]), active=ALL)
    assert learner.table[0, 0, 1] == pytest.approx(0.5 * (1.0 + 0.9 * 4.0))
    learner.act(before)
    learner.observe(before, np.array([0]), np.array([1.0]), after, np.array([True]), active=ALL)
    assert learner.table[0, 0, 0] == 0.5  # nothing comes after an end


def test_a_gain_scales_the_learning_rate(look: Look) -> None:
    gain = LearningGain(lambda error, level, transition: 1.0 + level)
    learner = QLearner(
        [0], 2, 2, QConfig(learning_rate=0.1), [Channel(Constant(0.5), [gain], weight=2.0)]
    )
    before = look([0])
    learner.act(before)
    learner.observe(before, np.array([0]), np.array([1.0]), before, np.array([True]), active=ALL)
    assert learner.table[0, 0, 0] == pytest.approx(0.2)
    assert learner.mean_levels().tolist() == [[0.5]]


def test_a_step_can_teach_about_what_was_not_done(look: Look) -> None:
    class Both(Influence):
        def lesson(
            self, values: np.ndarray, error: np.ndarray, level: np.ndarray, transition: Transition
        ) -> np.ndarray:
            return values + (level * error)[:, None]

    learner = QLearner([0, 1], 2, 3, QConfig(learning_rate=0.5), [Channel(Constant(0.1), [Both()])])
    before = look([1, 1])
    learner.act(before)
    ones, ends = np.ones(2), np.ones(2, bool)
    active = np.array([True, False])
    learner.observe(before, np.zeros(2, int), ones, before, ends, active=active)
    np.testing.assert_allclose(learner.table[0], [[0.0] * 3, [0.6, 0.1, 0.1]])
    np.testing.assert_array_equal(learner.table[1], 0.0)


def test_ties_are_broken_at_random_or_by_the_first(look: Look) -> None:
    rows = 4000
    tied = np.array([1.0, 0.0, 1.0, 1.0])
    here = look([0] * rows)
    for ties, expected in (("random", [1 / 3, 0.0, 1 / 3, 1 / 3]), ("first", [1.0, 0.0, 0.0, 0.0])):
        learner = QLearner(range(rows), 1, 4, QConfig(epsilon=0.0, ties=ties))  # type: ignore[arg-type]
        learner.table[:] = tied
        shares = np.bincount(learner.act(here), minlength=4) / rows
        np.testing.assert_allclose(shares, expected, atol=0.03)


def test_every_row_has_its_own_hyperparameters(look: Look) -> None:
    rates = np.array([0.1, 0.9])
    learner = QLearner([0, 1], 1, 2, QConfig(learning_rate=rates))
    before = look([0, 0])
    learner.act(before)
    learner.observe(
        before, np.zeros(2, int), np.ones(2), before, np.ones(2, bool), active=np.ones(2, bool)
    )
    np.testing.assert_allclose(learner.table[:, 0, 0], rates)


@pytest.mark.parametrize("name", EMOTIONAL)
def test_weight_zero_is_the_plain_learner_bit_for_bit(name: str) -> None:
    agent = CLASSIC_AGENTS[name]
    silent = [Channel(one.emotion, one.influences, 0.0) for one in agent.channels()]
    plain, one = run(agent, [])
    found, other = run(agent, silent)
    np.testing.assert_array_equal(one.table, other.table)
    for key, values in plain.items():
        np.testing.assert_array_equal(values, found[key])


@pytest.mark.parametrize("name", EMOTIONAL)
def test_the_emotion_changes_what_is_done(name: str) -> None:
    agent = CLASSIC_AGENTS[name]
    plain, _ = run(agent, [])
    found, _ = run(agent, agent.channels())
    assert not np.array_equal(plain["return"], found["return"])


@pytest.mark.parametrize("name", EMOTIONAL)
def test_rows_do_not_depend_on_their_number(name: str) -> None:
    agent = CLASSIC_AGENTS[name]
    few, one = run(agent, agent.channels(), rows=2)
    many, other = run(agent, agent.channels(), rows=5)
    np.testing.assert_array_equal(one.table, other.table[:2])
    for key, values in few.items():
        np.testing.assert_array_equal(values, many[key][:2])


def test_levels_can_be_observed(look: Look) -> None:
    channel = Channel(Constant(np.array([0.1, 0.9])), ())
    learner = QLearner([0, 1], 3, 2, QConfig(epsilon=0.0), [channel], observed_levels=4)
    assert learner.table.shape == (2, 12, 2)
    before = look([1, 1])
    learner.act(before)
    learner.observe(
        before, np.zeros(2, int), np.ones(2), before, np.ones(2, bool), active=np.ones(2, bool)
    )
    changed = [tuple(place) for place in np.argwhere(learner.table)]
    assert changed == [(0, 1 * 4 + 0, 0), (1, 1 * 4 + 3, 0)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, 1\], got 0.0"),
        ({"discount": 1.5}, r"discount must be in \[0, 1\], got 1.5"),
        ({"epsilon": np.array([0.1, np.nan])}, "epsilon must be in"),
        ({"ties": "last"}, "ties must be 'random' or 'first', got 'last'"),
    ],
)
def test_bad_hyperparameters(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        QConfig(**wrong)  # type: ignore[arg-type]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AgentError, match=r"unknown agent 'feared'; .*feared-q"):
        named_agent("feared")


def test_an_agent_of_no_experiment_has_no_home() -> None:
    assert home_of("feared-dqn") == "ErmGym/SlipperyCliff-v1"
    with pytest.raises(AgentError, match="'q' has no environment of its own"):
        home_of("q")
