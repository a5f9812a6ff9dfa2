"""Agents over the whole vocabulary: they start from the LM and learn as those over candidates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from torch.distributions import Categorical

from erm_gym.agents import AgentError, load_agent, make_agent
from erm_gym.agents.language_prior import LanguagePrior
from erm_gym.agents.prior_policy import PriorPolicy
from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.token import token_generation_vec
from erm_gym.llm import FrozenLLM
from tests.agents.conftest import PROMPTS, vowels


@pytest.fixture
def envs(llm: FrozenLLM, critic: EmotionalCritic) -> VectorEnv:
    return token_generation_vec(
        3,
        llm=llm,
        critic=critic,
        prompts=PROMPTS,
        user=vowels,
        max_new_tokens=4,
        prior_temperature=0.6,
    )


def tensors(observation: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in observation.items()}


def test_the_prior_is_the_distribution_of_the_lm(envs: VectorEnv, llm: FrozenLLM) -> None:
    observation, infos = envs.reset(seed=0)
    space = envs.single_observation_space
    assert isinstance(space, spaces.Dict)
    prior = LanguagePrior(space, "tiny", 0.6)(tensors(observation))
    for row in range(3):
        logits, _ = llm.recompute(llm.encode_prompt(infos["prompt"][row].text))
        torch.testing.assert_close(
            prior[row], (logits[-1] / 0.6).log_softmax(-1), atol=1e-3, rtol=1e-3
        )
    assert not LanguagePrior(space, "tiny", 0.6).state_dict()  # the head is shared, not saved


def logits(policy: object, observation: dict[str, np.ndarray]) -> torch.Tensor:
    assert isinstance(policy, PriorPolicy)
    distribution = policy.get_distribution(tensors(observation)).distribution
    assert isinstance(distribution, Categorical)
    return distribution.logits


def test_ppo_starts_from_the_lm_and_learns(envs: VectorEnv, tmp_path: Path) -> None:
    observation, _ = envs.reset(seed=0)
    agent = make_agent("ppo", envs, seed=0, n_steps=8)
    assert isinstance(agent, PPO)
    policy = agent.policy
    assert isinstance(policy, PriorPolicy)
    prior = policy.prior(tensors(observation))
    torch.testing.assert_close(logits(policy, observation), prior)
    agent.learn(96)
    learned = logits(policy, observation)
    assert not torch.allclose(learned, prior, atol=1e-3)
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent("ppo", tmp_path / "agent.zip", envs)
    assert isinstance(loaded, PPO)
    assert torch.equal(logits(loaded.policy, observation), learned)


def test_the_residual_is_that_over_candidates(envs: VectorEnv) -> None:
    """Every token scored at once equals every token offered as a candidate."""
    observation, _ = envs.reset(seed=0)
    agent = make_agent("ppo", envs, seed=0, n_steps=8)
    assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
    scorer = agent.policy.scorer
    torch.nn.init.normal_(scorer.to_rank.weight)
    everything = torch.arange(259).expand(3, -1)
    torch.testing.assert_close(
        scorer(tensors(observation)),
        scorer({**tensors(observation), "candidates": everything}),
        atol=1e-4,
        rtol=1e-4,
    )


def test_fear_moves_the_emotional_agents(envs: VectorEnv, llm: FrozenLLM) -> None:
    observation, _ = envs.reset(seed=0)
    cautious = np.zeros(259, bool)
    cautious[::3] = True  # as the critic has it, which is afraid of everything

    def share(name: str) -> float:
        many = {key: np.repeat(value, 300, axis=0) for key, value in observation.items()}
        actions, _ = make_agent(name, envs, seed=0).predict(many)
        return float(cautious[actions].mean())

    assert share("emotional-frozen") > share("frozen") + 0.1
    assert share("emotional-ppo") > share("ppo") + 0.1
    assert share("random") == pytest.approx(1 / 3, abs=0.06)


def test_q_learners_need_candidates(envs: VectorEnv) -> None:
    with pytest.raises(AgentError, match="CandidateGeneration-v0"):
        make_agent("dqn", envs)
