"""Masks of candidates: no agent chooses what is forbidden, and a mask of ones is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from erm_gym.agents import DQNConfig, PPOConfig, agent_names, make_agent
from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.factory import agent_spec
from erm_gym.agents.language_prior import MASKED, mask_actions
from erm_gym.agents.prior_dqn import PriorDQN, PriorQNetwork
from erm_gym.agents.prior_policy import PriorPolicy
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.emotion import LogitModulator, ModulationConfig

MakeEnvs = Callable[..., VectorEnv]

SMALL: dict[type, dict[str, Any]] = {
    PPOConfig: {"n_steps": 6, "n_epochs": 2},
    DQNConfig: {"learning_starts": 8, "batch_size": 16, "buffer_size": 256},
}


def small(name: str) -> dict[str, Any]:
    return SMALL.get(type(agent_spec(name).config), {})


def tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in observation.items()}


def observe(envs: VectorEnv) -> dict[str, np.ndarray]:
    observations, _ = envs.reset(seed=0)
    return observations


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32])  # a rollout buffer makes it float
def test_masked_scores_are_hopeless_and_the_others_as_they_were(dtype: torch.dtype) -> None:
    scores = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -3.0]])
    mask = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=dtype)
    masked = mask_actions(scores, {"action_mask": mask})
    torch.testing.assert_close(
        masked, torch.tensor([[0.5, MASKED, 2.0], [MASKED, 0.0, MASKED]]), rtol=0.0, atol=0.0
    )
    expected = torch.tensor([[np.exp(-1.5), 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float32)
    expected = expected / expected.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(masked.softmax(dim=-1), expected)
    assert mask_actions(scores, {}) is scores


@pytest.fixture
def bias() -> EmotionalBias:
    """Of four tokens 1 and 3 are cautious, and fear is worth 2 there."""
    modulator = LogitModulator(4, ModulationConfig(rule_gain=2.0))
    modulator.set_category("cautious", [1, 3])
    bias = EmotionalBias(4, 1.0)
    bias.adopt(modulator)
    return bias


def test_the_spread_is_that_of_the_allowed_candidates(bias: EmotionalBias) -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 90.0], [3.0, 1.0, 2.0, 90.0], [7.0, 1.0, 2.0, 4.0]])
    observation = {
        "emotion": torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 3),
        "candidates": torch.arange(4).expand(3, -1),
        "action_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.int8),
    }
    # The standard deviations of (3, 1, 2) and (3, 1), with n - 1, and of one number alone
    added = 2.0 * torch.tensor([1.0, 2.0**0.5, 0.0])
    biased = bias.on_values(values, observation)
    torch.testing.assert_close(biased[:, 1], values[:, 1] + added)
    torch.testing.assert_close(biased[:, 3], values[:, 3] + added)
    assert torch.equal(biased[:, [0, 2]], values[:, [0, 2]])


def test_the_spread_of_a_row_does_not_depend_on_other_rows(bias: EmotionalBias) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(64, 4, generator=generator)
    observation = {
        "emotion": torch.rand(64, 6, generator=generator),
        "candidates": torch.arange(4).expand(64, -1),
        "action_mask": torch.ones(64, 4, dtype=torch.int8),
    }
    unmasked = bias.on_values(values, observation)
    observation["action_mask"][0, 2] = 0
    assert torch.equal(bias.on_values(values, observation)[1:], unmasked[1:])


@torch.no_grad()
def test_the_kl_term_is_that_over_the_allowed_candidates(make_envs: MakeEnvs) -> None:
    agent = make_agent("ppo", make_envs(2, k=4), seed=0)
    assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
    policy = agent.policy
    observation = tensors(observe(make_envs(2, k=4)))
    prior = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.6, 0.2, 0.1, 0.1]])
    observation["logprobs"] = prior.log()
    observation["action_mask"] = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1]], dtype=torch.int8)
    # A residual of log 2 on the last candidate, and much for one that is masked
    residual = torch.log(torch.tensor([[1.0, 2.0, 1e9, 1e9], [1.0, 1e9, 1.0, 2.0]]))
    policy.scorer.forward = lambda observation: residual  # type: ignore[method-assign]
    # (0.5, 0.3) / 0.8 becomes (0.5, 0.6) / 1.1; (0.6, 0.1) / 0.7 becomes (0.6, 0.2) / 0.8
    first = 5 / 11 * np.log(5 / 11 / 0.625) + 6 / 11 * np.log(6 / 11 / 0.375)
    second = 0.75 * np.log(0.75 / (6 / 7)) + 0.25 * np.log(0.25 / (1 / 7))
    _, chosen, negative = policy.evaluate_actions(observation, torch.tensor([1, 3]))
    assert negative is not None
    np.testing.assert_allclose(negative, [-first, -second], rtol=1e-5)
    np.testing.assert_allclose(chosen.exp(), [6 / 11, 0.25], rtol=1e-5)


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", agent_names())
def test_a_mask_of_ones_is_no_mask(make_envs: MakeEnvs, name: str) -> None:
    """Bit for bit: choices, and scores after learning where there are any."""
    agent = make_agent(name, make_envs(3), seed=0, **small(name))
    agent.learn(24)
    masked = observe(make_envs(3))
    assert (masked["action_mask"] == 1).all()
    unmasked = {key: value for key, value in masked.items() if key != "action_mask"}
    if isinstance(agent, SamplingAgent):
        twin = make_agent(name, make_envs(3), seed=0)
        for _ in range(20):
            np.testing.assert_array_equal(agent.predict(masked)[0], twin.predict(unmasked)[0])
        return
    with torch.no_grad():
        with_mask, without = (scores(agent, tensors(each)) for each in (masked, unmasked))
    assert torch.equal(with_mask, without)


def scores(agent: BaseAlgorithm, observation: dict[str, Tensor]) -> Tensor:
    if isinstance(agent.policy, PriorPolicy):
        logits = agent.policy.get_distribution(observation).distribution.logits  # type: ignore[union-attr]
        _, _, negative = agent.policy.evaluate_actions(observation, torch.zeros(3))
        assert negative is not None
        return torch.cat([logits, negative[:, None]], dim=-1)
    assert isinstance(agent, PriorDQN) and isinstance(agent.q_net, PriorQNetwork)
    values = agent.q_net(observation)
    return torch.cat([values, agent.q_net.bias.on_values(values, observation)], dim=-1)


@pytest.mark.parametrize("name", agent_names())
def test_no_agent_chooses_a_masked_candidate(make_envs: MakeEnvs, name: str) -> None:
    """While predicting, exploring and learning: the environment raises on one."""
    envs = make_envs(4, top_p=0.5)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    step = envs.step

    def noted(actions: Any) -> Any:
        seen.append((envs.action_masks(), np.array(actions)))  # type: ignore[attr-defined]
        return step(actions)

    envs.step = noted  # type: ignore[method-assign]
    agent = make_agent(name, envs, seed=0, **small(name))
    agent.learn(72)
    observations, _ = envs.reset(seed=1)
    for index in range(24):
        actions, _ = agent.predict(observations, deterministic=index % 2 == 0)
        observations, *_ = envs.step(actions)
    masks = np.stack([mask for mask, _ in seen])
    actions = np.stack([chosen for _, chosen in seen])
    assert len(seen) >= 24 + (18 if agent_spec(name).learns else 0)
    assert np.take_along_axis(masks, actions[..., None], axis=2).all()
    assert 0.2 < masks.mean() < 0.9
    if isinstance(agent, BaseAlgorithm):
        weights = agent.policy.state_dict().values()
        assert all(bool(torch.isfinite(value).all()) for value in weights)


@pytest.mark.parametrize("name", agent_names())
def test_the_most_tempting_candidate_is_not_chosen_if_it_is_masked(
    make_envs: MakeEnvs, name: str
) -> None:
    """A thousand rows in which only candidates 2 and 5 are allowed, and are unlikely and bold."""
    agent = make_agent(name, make_envs(2), seed=0)
    observation = {
        key: np.repeat(value[:1], 1000, axis=0) for key, value in observe(make_envs(2)).items()
    }
    observation["logprobs"] = np.full((1000, 8), -0.5, np.float32)
    observation["logprobs"][:, [2, 5]] = -30.0
    observation["candidates"] = np.arange(8).repeat(1000).reshape(8, 1000).T * 3
    observation["candidates"][:, [2, 5]] += 1  # the others are cautious
    observation["action_mask"] = np.zeros((1000, 8), np.int8)
    observation["action_mask"][:, [2, 5]] = 1
    for deterministic in (True, False):
        actions, _ = agent.predict(observation, deterministic=deterministic)
        assert set(actions.tolist()) <= {2, 5}
    if isinstance(agent, PriorDQN):
        agent._last_obs = observation
        agent.exploration_rate = 1.0
        actions, _ = agent._sample_action(learning_starts=0)
    elif not isinstance(agent, SamplingAgent):
        actions, _ = agent.predict(observation)
    assert set(actions.tolist()) == {2, 5}  # both have the same chances


@torch.no_grad()
def test_a_target_never_bootstraps_from_a_masked_candidate(make_envs: MakeEnvs) -> None:
    agent = make_agent("dqn", make_envs(2), seed=0)
    assert isinstance(agent, PriorDQN)
    observation = tensors(observe(make_envs(2)))
    observation["logprobs"] = torch.arange(8.0).mul(-1.0).expand(2, -1)
    observation["action_mask"] = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 0]] * 2, dtype=torch.int8)
    best = agent.q_net_target(observation).max(dim=1).values
    torch.testing.assert_close(best, torch.full((2,), -0.2))  # 0.1 per nat below the likeliest
    observation["progress"] = torch.ones(2, 1)
    assert torch.equal(agent.q_net_target(observation).max(dim=1).values, torch.zeros(2))
