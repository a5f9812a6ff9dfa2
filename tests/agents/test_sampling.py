"""The agents that do not learn: the frozen LM, chance, and the LM with emotions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from erm_gym.agents import make_agent
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.emotion import EmotionalCritic

MakeEnvs = Callable[..., VectorEnv]
DRAWS = 20_000


@pytest.fixture
def observation(make_envs: MakeEnvs) -> dict[str, np.ndarray]:
    observations, _ = make_envs(1).reset(seed=0)
    return observations


def shares(agent: SamplingAgent, observation: dict[str, np.ndarray]) -> np.ndarray:
    many = {key: np.repeat(value, DRAWS, axis=0) for key, value in observation.items()}
    actions, _ = agent.predict(many)
    assert actions.shape == (DRAWS,) and np.issubdtype(actions.dtype, np.integer)
    return np.bincount(actions, minlength=8) / DRAWS


def make(name: str, envs: VectorEnv, seed: int = 0) -> SamplingAgent:
    agent = make_agent(name, envs, seed)
    assert isinstance(agent, SamplingAgent)
    return agent


def test_the_frozen_agent_samples_with_the_probabilities_of_the_lm(
    make_envs: MakeEnvs, observation: dict[str, np.ndarray]
) -> None:
    prior = np.exp(observation["logprobs"][0].astype(np.float64))
    prior /= prior.sum()
    frozen = make("frozen", make_envs())
    np.testing.assert_allclose(shares(frozen, observation), prior, atol=0.02)


def test_the_random_agent_is_uniform(
    make_envs: MakeEnvs, observation: dict[str, np.ndarray]
) -> None:
    random = make("random", make_envs())
    np.testing.assert_allclose(shares(random, observation), 1 / 8, atol=0.02)


def test_the_emotional_agent_adds_the_bias(
    make_envs: MakeEnvs, critic: EmotionalCritic, observation: dict[str, np.ndarray]
) -> None:
    bias = critic.bias(
        torch.from_numpy(observation["emotion"]), torch.from_numpy(observation["candidates"])
    )
    bias = bias.detach()
    assert float(bias.max()) > 1.0 and float(bias.min()) == 0.0
    expected = (torch.from_numpy(observation["logprobs"]) + bias).softmax(-1)[0]
    emotional = make("emotional-frozen", make_envs())
    np.testing.assert_allclose(shares(emotional, observation), expected, atol=0.02)


@pytest.mark.parametrize("name", ["frozen", "random", "emotional-frozen"])
def test_choices_are_seeded_and_use_no_global_randomness(
    make_envs: MakeEnvs, observation: dict[str, np.ndarray], name: str
) -> None:
    envs = make_envs()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, other = (shares(make(name, envs, seed), observation) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_the_likeliest_if_deterministic(
    make_envs: MakeEnvs, observation: dict[str, np.ndarray]
) -> None:
    actions, state = make("frozen", make_envs()).predict(observation, deterministic=True)
    assert actions.tolist() == [0] and state is None


def test_learning_changes_nothing(make_envs: MakeEnvs, observation: dict[str, np.ndarray]) -> None:
    agent, twin = make("frozen", make_envs()), make("frozen", make_envs())
    assert agent.learn(100) is agent
    assert agent.num_timesteps == 100
    np.testing.assert_array_equal(shares(agent, observation), shares(twin, observation))
