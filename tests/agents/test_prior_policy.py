"""The PPO policy: it starts as the LM, and its KL term, values and bias by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from torch import Tensor, nn
from torch.distributions import Categorical

from erm_gym.agents import make_agent
from erm_gym.agents.prior_policy import PriorPolicy
from erm_gym.emotion import EmotionalCritic
from erm_gym.llm import FrozenLLM

MakeEnvs = Callable[..., VectorEnv]


def probabilities(policy: PriorPolicy, observation: dict[str, Tensor]) -> Tensor:
    distribution = policy.get_distribution(observation).distribution
    assert isinstance(distribution, Categorical)
    return distribution.probs


def policy_of(name: str, envs: VectorEnv, **settings: float) -> PriorPolicy:
    agent = make_agent(name, envs, seed=0, **settings)
    assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
    return agent.policy


def observe(envs: VectorEnv, steps: int = 1) -> dict[str, Tensor]:
    observations, _ = envs.reset(seed=0)
    for step in range(steps):
        observations, *_ = envs.step([step % 3] * envs.num_envs)
    return {key: torch.from_numpy(value) for key, value in observations.items()}


def shake(policy: PriorPolicy) -> None:
    """Gives the residual and the value function some weights."""
    generator = torch.Generator().manual_seed(0)
    for layer in (policy.scorer.to_rank, policy.value_net):
        nn.init.normal_(layer.weight, std=0.3, generator=generator)


@torch.no_grad()
def test_an_untrained_policy_has_the_probabilities_of_the_lm(
    make_envs: MakeEnvs, llm: FrozenLLM
) -> None:
    """Over the whole vocabulary: exactly softmax(logits / temperature)."""
    envs = make_envs(1, k=llm.vocab_size, prompts=["Please help me"], prior_temperature=0.6)
    policy = policy_of("ppo", envs)
    observation = observe(envs, steps=0)
    logits = llm.recompute(llm.encode_prompt("Please help me"))[0][-1]
    expected = (logits / 0.6).softmax(-1)[observation["candidates"][0]]
    own = probabilities(policy, observation)[0]
    torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_of_some_candidates_the_probabilities_are_renormalised(make_envs: MakeEnvs) -> None:
    envs = make_envs(3)
    observation = observe(envs)
    prior = observation["logprobs"].exp()
    expected = prior / prior.sum(-1, keepdim=True)
    assert float(prior.sum(-1).max()) < 0.999
    policy = policy_of("ppo", envs)
    torch.testing.assert_close(probabilities(policy, observation), expected)
    likeliest = policy.get_distribution(observation).mode()
    assert torch.equal(likeliest, torch.zeros(3, dtype=torch.int64))


@torch.no_grad()
def test_logits_are_prior_residual_and_bias(make_envs: MakeEnvs, critic: EmotionalCritic) -> None:
    envs = make_envs(3)
    observation = observe(envs)
    policy = policy_of("emotional-ppo", envs, bias_weight=0.5)
    shake(policy)
    bias = critic.bias(observation["emotion"], observation["candidates"])
    assert float(bias.max()) > 1.0
    expected = observation["logprobs"] + policy.scorer(observation) + 0.5 * bias
    torch.testing.assert_close(probabilities(policy, observation), expected.softmax(-1))


@torch.no_grad()
def test_kl_from_the_lm_by_hand(make_envs: MakeEnvs) -> None:
    envs = make_envs(2, k=3)
    policy = policy_of("ppo", envs)
    observation = observe(envs)
    observation["logprobs"] = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]))
    actions = torch.tensor([0, 2])
    _, _, negative = policy.evaluate_actions(observation, actions)
    assert negative is not None
    torch.testing.assert_close(negative, torch.zeros(2), atol=1e-6, rtol=0.0)

    # A residual of log 2 on the first candidate: (1, 0.3, 0.2) / 1.5 and (1.2, 0.3, 0.1) / 1.6
    residual = torch.tensor([[np.log(2.0), 0.0, 0.0]] * 2, dtype=torch.float32)
    policy.scorer.forward = lambda observation: residual  # type: ignore[method-assign]
    values, chosen, negative = policy.evaluate_actions(observation, actions)
    assert negative is not None and values.shape == (2, 1)
    first = 2 / 3 * np.log(4 / 3) + 0.2 * np.log(2 / 3) + 2 / 15 * np.log(2 / 3)
    second = 0.75 * np.log(1.25) + 0.1875 * np.log(0.625) + 0.0625 * np.log(0.625)
    np.testing.assert_allclose(negative, [-first, -second], rtol=1e-5)
    np.testing.assert_allclose(chosen.exp(), [2 / 3, 0.0625], rtol=1e-5)


@torch.no_grad()
def test_the_kl_of_candidates_that_the_lm_excludes_is_finite(make_envs: MakeEnvs) -> None:
    """Very sharp priors underflow: the candidate has probability zero, and 0 log 0 is 0."""
    envs = make_envs(2, prior_temperature=1e-3)
    policy = policy_of("ppo", envs)
    shake(policy)
    observation = observe(envs)
    _, chosen, negative = policy.evaluate_actions(observation, torch.tensor([0, 0]))
    assert negative is not None
    assert torch.isfinite(negative).all() and torch.isfinite(chosen).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["ppo", "emotional-ppo"])
def test_the_recomputed_log_probability_is_the_one_that_was_acted_with(
    make_envs: MakeEnvs, name: str
) -> None:
    envs = make_envs(4)
    policy = policy_of(name, envs)
    shake(policy)
    observation = observe(envs, steps=2)
    actions, values, log_probs = policy.forward(observation)
    again_values, again, _ = policy.evaluate_actions(observation, actions)
    torch.testing.assert_close(again, log_probs)
    torch.testing.assert_close(again_values, values)
    torch.testing.assert_close(policy.predict_values(observation), values)


@torch.no_grad()
def test_a_finished_reply_has_no_value(make_envs: MakeEnvs) -> None:
    envs = make_envs(3)
    policy = policy_of("ppo", envs)
    shake(policy)
    observation = observe(envs)
    observation["progress"] = torch.tensor([[0.0], [0.75], [1.0]])
    values = policy.predict_values(observation).squeeze(-1)
    assert values[0] != 0.0 and values[1] != 0.0 and values[2] == 0.0


def test_no_gradient_reaches_the_modulator_or_the_lm(
    make_envs: MakeEnvs, llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    envs = make_envs(4)
    policy = policy_of("emotional-ppo", envs)
    shake(policy)
    assert not any(p.requires_grad for p in policy.bias.parameters())
    optimised = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert optimised.isdisjoint(id(p) for p in policy.bias.parameters())
    assert optimised == {id(p) for p in policy.parameters() if p.requires_grad}
    values, chosen, negative = policy.evaluate_actions(observe(envs), torch.tensor([0, 1, 2, 3]))
    assert negative is not None
    (values.sum() + chosen.sum() + negative.sum()).backward()
    for module in (policy.bias, critic, llm.model):
        assert all(p.grad is None for p in module.parameters())
    assert policy.scorer.to_rank.weight.grad is not None


def test_training_keeps_the_policy_near_the_lm_by_the_kl_weight(make_envs: MakeEnvs) -> None:
    def divergence(kl_weight: float) -> float:
        envs = make_envs(8, prompts=["Hi"], critic=None)
        agent = make_agent("ppo", envs, seed=0, n_steps=8, kl_weight=kl_weight).learn(128)
        assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
        with torch.no_grad():
            _, _, negative = agent.policy.evaluate_actions(observe(envs), torch.zeros(8))
        assert negative is not None
        return -float(negative.mean())

    free, held = divergence(0.0), divergence(1.0)
    assert free > 3 * held > 0.0
