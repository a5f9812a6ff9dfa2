"""Deep Q-learning of many rows: limits, and numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from erm_gym.agents.emotional_ed import Channel, Situation
from erm_gym.agents.emotional_ed.deep_agents import DEEP_AGENTS, DeepAgent
from erm_gym.agents.emotional_ed.deep_q import DeepQConfig, DeepQLearner, one_hot_columns
from erm_gym.agents.emotional_ed.ensemble import RowAdam, forward, initial_parameters
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.fear_agents import more_from_losses
from erm_gym.agents.emotional_ed.forms import LearningGain, RiskAversion
from erm_gym.agents.emotional_ed.quantile_q import (
    QuantileConfig,
    QuantileQLearner,
    conditional_value_at_risk,
    quantile_huber_slope,
)
from erm_gym.agents.emotional_ed.replay import Batch, Replay
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.evaluation.classic_runs import play

SIZES = (48, 5)


def trained(agent: DeepAgent, seeds: Sequence[int], episodes: int = 8) -> DeepQLearner:
    envs = gym.make_vec("ErmGym/SlipperyCliff-v1", num_envs=len(seeds), autoreset_mode="Disabled")
    learner = agent.learner(seeds, SIZES, 4)
    play(envs, learner, episodes, seed=list(seeds))
    return learner


@pytest.mark.parametrize(
    ("emotional", "plain"), [("feared-dqn", "dqn"), ("cvar-feared-dqn", "qr-dqn")]
)
def test_weight_zero_is_the_plain_learner(emotional: str, plain: str) -> None:
    agent = DEEP_AGENTS[emotional]

    def weightless() -> list[Channel]:
        return [replace(channel, weight=0.0) for channel in agent.channels()]

    found = trained(replace(agent, channels=weightless), [3, 4])
    expected = trained(DEEP_AGENTS[plain], [3, 4])
    changed = trained(agent, [3, 4])
    for one, other, third in zip(
        found.parameters, expected.parameters, changed.parameters, strict=True
    ):
        assert torch.equal(one, other)
        assert not torch.equal(one, third)


@pytest.mark.parametrize("name", sorted(DEEP_AGENTS))
def test_a_row_learns_the_same_alone_and_among_others(name: str) -> None:
    # Row 1 is in no case the first to have played its episodes, so others wait and others go on.
    alone = trained(DEEP_AGENTS[name], [8], episodes=8)
    among = trained(DEEP_AGENTS[name], [7, 8, 9], episodes=8)
    for one, other in zip(alone.parameters, among.parameters, strict=True):
        torch.testing.assert_close(one[0], other[1], rtol=1e-3, atol=1e-4)


def test_networks_are_pytorchs_own() -> None:
    torch.manual_seed(0)
    parameters = initial_parameters([5, 6], 7, 8, 3)
    columns = torch.tensor([[[0, 4], [2, 6]], [[1, 5], [1, 5]]])
    found = forward(parameters, columns)
    for network in range(2):
        own = [parameter[network] for parameter in parameters]
        given = torch.zeros(2, 7).scatter_(1, columns[network], 1.0)
        hidden = torch.relu(given @ own[0] + own[1])
        hidden = torch.relu(hidden @ own[2] + own[3])
        torch.testing.assert_close(found[network], hidden @ own[4] + own[5])
    assert parameters[0].abs().max() <= 7**-0.5
    assert parameters[2].abs().max() <= 8**-0.5


def test_steps_are_those_of_pytorchs_adam() -> None:
    parameters = initial_parameters([0, 1], 3, 4, 2)
    reference = [parameter[1:].clone().requires_grad_(True) for parameter in parameters]
    untouched = [parameter[0].clone() for parameter in parameters]
    own, other = RowAdam(parameters, 0.01), torch.optim.Adam(reference, lr=0.01)
    for step in range(5):
        gradients = [torch.full_like(parameter, 0.3 * step - 0.5) for parameter in reference]
        own.step(np.array([1]), gradients)
        for parameter, gradient in zip(reference, gradients, strict=True):
            parameter.grad = gradient
        other.step()
    for parameter, expected, kept in zip(parameters, reference, untouched, strict=True):
        torch.testing.assert_close(parameter[1:], expected.detach())
        assert torch.equal(parameter[0], kept)


def test_every_factor_is_one_hot() -> None:
    assert one_hot_columns([2, 3])[4].tolist() == [1, 3]  # 4 = 1 * 3 + 1


def test_exploration_decays_with_each_rows_episodes() -> None:
    learner = DeepQLearner([0, 1], [2], 2, DeepQConfig(epsilon_last=0.991))
    here = Situation(state=np.zeros(2, int), context={}, last_action=np.full(2, -1))
    learner.begin(np.array([True, True]), here)
    learner.begin(np.array([True, False]), here)
    np.testing.assert_allclose(learner._exploration(), [0.995, 1.0])
    learner.begin(np.array([True, False]), here)
    np.testing.assert_allclose(learner._exploration(), [0.991, 1.0])  # .990 is too little


def test_replay_keeps_what_was_felt_and_forgets_the_oldest() -> None:
    replay = Replay([0, 1], capacity=2, channels=1)
    for step in range(3):
        column = np.full(2, step)
        values = Batch(column, column, column, column, column > 5, column[:, None] / 4, column)
        replay.add(np.array([1]), values)
    drawn = replay.sample(np.array([1]), 100)
    assert set(drawn.state.ravel()) == {1, 2}
    np.testing.assert_array_equal(drawn.levels[:, :, 0], drawn.state / 4)
    assert replay.stored.tolist() == [0, 3]


def test_gains_weigh_the_losses_by_what_was_felt_then() -> None:
    channel = Channel(ProximityFear(), [LearningGain(more_from_losses)], weight=0.5)
    learner = DeepQLearner([0], [4], 2, channels=[channel])
    column = np.zeros((1, 3), int)
    levels = np.array([[[0.5], [0.5], [0.0]]])
    batch = Batch(column, column, column, column, column > 0, levels, column + 1)
    weights = learner._weights(np.array([[-1.0, 1.0, -1.0]]), batch)
    np.testing.assert_allclose(weights, [[1.5, 1.25, 1.0]])


def test_what_is_remembered_is_the_level_before_the_step() -> None:
    channel = Channel(ProximityFear(), [LearningGain(more_from_losses)], weight=0.5)
    learner = DeepQLearner([0], [4], 2, channels=[channel])
    near, far = (
        Situation(
            state=np.zeros(1, int),
            context={"threat_distance": np.array([distance])},
            last_action=np.full(1, -1),
        )
        for distance in (0.0, 3.0)
    )
    one = np.ones(1, bool)
    learner.begin(one, near)
    learner.observe(near, np.zeros(1, int), np.zeros(1), far, ~one, active=one)
    assert learner._replay.sample(np.array([0]), 1).levels.tolist() == [[[0.5]]]
    assert channel.level.tolist() == [0.0]


def test_conditional_value_at_risk_by_hand() -> None:
    outcomes = torch.tensor([[3.0, -5.0, 1.0, 1.0]])
    for risk, expected in ((1.0, 0.0), (0.5, -2.0), (0.375, -3.0), (0.25, -5.0), (0.1, -5.0)):
        found = conditional_value_at_risk(outcomes, torch.tensor([risk]))
        assert found.item() == pytest.approx(expected)


def test_the_quantile_slope_is_the_gradient_of_the_published_loss() -> None:
    quantiles = torch.tensor([-1.0, 0.5], requires_grad=True)  # of the fractions .25 and .75
    outcomes = torch.tensor([0.0, 3.0])
    errors = outcomes - quantiles[:, None]
    huber = torch.where(errors.abs() <= 1.0, 0.5 * errors**2, errors.abs() - 0.5)
    weights = (torch.tensor([[0.25], [0.75]]) - (errors < 0).float()).abs()
    (weights * huber).mean(dim=1).sum().backward()
    slope = quantile_huber_slope(quantiles.detach(), outcomes)
    torch.testing.assert_close(slope, quantiles.grad)
    # Errors are 1 and 4, and -.5 and 2.5: -(.25 + .25) / 2 and -(-.25 * .5 + .75) / 2.
    torch.testing.assert_close(slope, torch.tensor([-0.25, -0.3125]))


def test_fear_looks_at_worse_outcomes() -> None:
    averse = RiskAversion(slope=0.8, floor=0.3)
    np.testing.assert_allclose(
        averse.risk(np.array([1.0, 1.0, 1.0, 0.2]), np.array([0.0, 0.5, 1.0, 1.0])),
        [1.0, 0.6, 0.3, 0.2],
    )


def test_a_fearful_quantile_learner_avoids_the_gamble() -> None:
    channel = Channel(ProximityFear(), [RiskAversion()])
    learner = QuantileQLearner([0], [1], 2, QuantileConfig(quantiles=2), [channel])
    for parameter in learner.parameters:
        parameter.zero_()
    learner.parameters[-1][0, 0] = torch.tensor([-4.0, 6.0, 0.5, 0.5])  # a gamble, or .5 for sure
    for distance, action in ((3.0, 0), (0.0, 1)):
        here = Situation(
            state=np.zeros(1, int),
            context={"threat_distance": np.array([distance])},
            last_action=np.full(1, -1),
        )
        learner.begin(np.ones(1, bool), here)
        assert learner.act(here, epsilon=0.0).tolist() == [action]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepQConfig(discount=1.5), "discount must be in"),
        (lambda: DeepQConfig(batch_size=0), "batch_size must be an integer of at least 1"),
        (lambda: DeepQConfig(batch_size=513), "batch_size must be at most 512"),
        (lambda: DeepQConfig(learning_rate=0.0), "learning_rate must be above 0"),
        (lambda: QuantileConfig(risk=0.0), "risk must be in"),
    ],
)
def test_errors_name_the_value(make: Callable[[], object], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        make()
