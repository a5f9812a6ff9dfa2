"""The DQN: its values by hand, its start as the LM's favourite, and how it explores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from erm_gym.agents import make_agent
from erm_gym.agents.prior_dqn import PriorDQN, PriorQNetwork
from erm_gym.emotion import EmotionalCritic

MakeEnvs = Callable[..., VectorEnv]


def dqn(name: str, envs: VectorEnv, **settings: Any) -> PriorDQN:
    agent = make_agent(name, envs, seed=0, **settings)
    assert isinstance(agent, PriorDQN)
    return agent


def network(agent: PriorDQN) -> PriorQNetwork:
    assert isinstance(agent.q_net, PriorQNetwork)
    return agent.q_net


def observe(envs: VectorEnv, steps: int = 1) -> dict[str, np.ndarray]:
    observations, _ = envs.reset(seed=0)
    for step in range(steps):
        observations, *_ = envs.step([step % 3] * envs.num_envs)
    return observations


def tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in observation.items()}


def test_untrained_it_chooses_what_the_lm_finds_likeliest(make_envs: MakeEnvs) -> None:
    envs = make_envs(5)
    agent = dqn("dqn", envs)
    for steps in range(4):
        actions, _ = agent.predict(observe(envs, steps), deterministic=True)
        np.testing.assert_array_equal(actions, 0)


@torch.no_grad()
def test_values_by_hand(make_envs: MakeEnvs) -> None:
    envs = make_envs(2, k=3)
    q_net = network(dqn("dqn", envs, prior_scale=0.2))
    observation = tensors(observe(envs))
    observation["logprobs"] = torch.tensor([[-0.5, -1.0, -2.5], [-1.0, -1.0, -6.0]])
    expected = torch.tensor([[0.0, -0.1, -0.4], [0.0, 0.0, -1.0]])
    torch.testing.assert_close(q_net(observation), expected)
    nn.init.normal_(q_net.scorer.to_rank.weight)
    torch.testing.assert_close(q_net(observation), expected + q_net.scorer(observation))
    observation["progress"] = torch.tensor([[0.5], [1.0]])
    values = q_net(observation)
    assert values[0].abs().max() > 0.0 and torch.equal(values[1], torch.zeros(3))


@torch.no_grad()
def test_the_fear_bias_acts_on_choices_and_not_on_values(
    make_envs: MakeEnvs, critic: EmotionalCritic
) -> None:
    envs = make_envs(16)
    plain, feared = dqn("dqn", envs), dqn("feared-dqn", envs, bias_weight=1.5)
    observation = tensors(observe(envs))
    values = network(plain)(observation)
    assert torch.equal(network(feared)(observation), values)
    bias = critic.bias(observation["emotion"], observation["candidates"])
    scores = values + 1.5 * values.std(-1, keepdim=True) * bias
    chosen, _ = feared.predict(observe(envs), deterministic=True)
    np.testing.assert_array_equal(chosen, scores.argmax(-1))
    assert (chosen != 0).any()


def test_both_networks_know_the_bias_and_no_gradient_reaches_it(
    make_envs: MakeEnvs, critic: EmotionalCritic
) -> None:
    envs = make_envs(4)
    agent = dqn("feared-dqn", envs, learning_starts=8, batch_size=16)
    agent.learn(64)
    for net in (agent.q_net, agent.q_net_target):
        assert isinstance(net, PriorQNetwork)
        for key, value in critic.modulator.state_dict().items():
            assert torch.equal(value, net.bias.modulator.state_dict()[key]), key
        assert all(p.grad is None and not p.requires_grad for p in net.bias.parameters())
    assert network(agent).scorer.to_rank.weight.abs().max() > 0.0


def test_exploration_samples_from_the_lm(make_envs: MakeEnvs) -> None:
    envs = make_envs(2)
    agent = dqn("dqn", envs)
    observation = observe(envs)
    many = {key: np.repeat(value[:1], 20_000, axis=0) for key, value in observation.items()}
    prior = np.exp(observation["logprobs"][0])
    prior /= prior.sum()

    def shares(rate: float) -> np.ndarray:
        agent.exploration_rate = rate
        agent._last_obs = many
        actions, _ = agent._sample_action(learning_starts=0)
        return np.bincount(actions, minlength=8) / 20_000

    np.testing.assert_allclose(shares(1.0), prior, atol=0.02)
    greedy = np.eye(8)[0]
    np.testing.assert_allclose(shares(0.3), 0.3 * prior + 0.7 * greedy, atol=0.02)
    np.testing.assert_array_equal(shares(0.0), greedy)
    agent.exploration_rate = 1.0
    assert (agent.predict(many)[0] == 0).all()  # acting never explores


def test_before_learning_starts_it_samples_from_the_lm_as_well(make_envs: MakeEnvs) -> None:
    """Never uniformly: under a sharp prior all that it can sample is the likeliest candidate."""
    envs = make_envs(4, prior_temperature=0.01)
    agent = dqn("dqn", envs, learning_starts=64, buffer_size=64)
    agent.learn(64)
    assert agent.replay_buffer is not None and agent.replay_buffer.size() == 16
    np.testing.assert_array_equal(agent.replay_buffer.actions, 0)


def test_it_learns_which_candidate_pays(make_envs: MakeEnvs) -> None:
    """One prompt, one token: the fourth candidate earns 1 and the others -1."""
    envs = make_envs(8, prompts=["Hi"], k=4, max_new_tokens=1)
    target = envs.unwrapped.llm.decode([int(observe(envs, 0)["candidates"][0, 3])])  # type: ignore[attr-defined]
    envs = make_envs(
        16,
        prompts=["Hi"],
        k=4,
        max_new_tokens=1,
        prior_temperature=5.0,
        user=lambda prompt, reply: 1.0 if reply == target else -1.0,
    )
    agent = dqn("dqn", envs, learning_starts=64, train_freq=1, learning_rate=0.01, batch_size=32)
    agent.learn(320)
    actions, _ = agent.predict(observe(envs, 0), deterministic=True)
    np.testing.assert_array_equal(actions, 3)
    values = network(agent)(tensors(observe(envs, 0)))[0]
    assert values.argmax() == 3
    assert float(values[3].detach()) == pytest.approx(1.0, abs=0.2)
