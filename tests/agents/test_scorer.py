"""The scorer and its features, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from torch import Tensor

from erm_gym.agents.scorer import GROUP_SCALES, CandidateScorer, ObservationFeatures
from erm_gym.llm import FrozenLLM

MakeEnvs = Callable[..., VectorEnv]


@pytest.fixture
def space(make_envs: MakeEnvs) -> spaces.Dict:
    space = make_envs().single_observation_space
    assert isinstance(space, spaces.Dict)
    return space


@pytest.fixture
def observation(make_envs: MakeEnvs) -> dict[str, Tensor]:
    observations, _ = make_envs(5).reset(seed=0)
    return {key: torch.from_numpy(value) for key, value in observations.items()}


@pytest.fixture
def scorer(space: spaces.Dict) -> CandidateScorer:
    torch.manual_seed(0)
    scorer = CandidateScorer(space, "tiny", width=16, rank=4)
    torch.nn.init.normal_(scorer.to_rank.weight)
    torch.nn.init.normal_(scorer.to_rank.bias)
    return scorer


def test_features_by_hand(
    space: spaces.Dict, observation: dict[str, Tensor], llm: FrozenLLM
) -> None:
    features = ObservationFeatures(space, "tiny")
    assert features.groups == ["hidden", "prompt_hidden", "progress", "emotion", "fear"]
    mean, std = llm.hidden_statistics
    parts = []
    for name in ("hidden", "prompt_hidden"):
        standard = (observation[name] - mean) / std
        parts.append(standard.clamp(-10, 10) / 32 * GROUP_SCALES[name])
    parts.append((2 * observation["progress"] - 1) * GROUP_SCALES["progress"])
    for name, size in (("emotion", 6), ("fear", 2)):
        parts.append((2 * observation[name] - 1).clamp(min=0) / size * GROUP_SCALES[name])
    expected = torch.cat(parts, -1)
    assert features.size == expected.shape[1] == 32 + 32 + 1 + 6 + 2
    torch.testing.assert_close(features(observation), expected)


def test_outliers_are_clamped(space: spaces.Dict, observation: dict[str, Tensor]) -> None:
    features = ObservationFeatures(space, "tiny")
    wild = {**observation, "hidden": torch.full((5, 32), 1e6)}
    largest = 10 / 32 * GROUP_SCALES["hidden"]
    assert float(features(wild)[:, :32].max()) == pytest.approx(largest)


def test_without_a_critic_there_is_no_emotion(make_envs: MakeEnvs) -> None:
    space = make_envs(critic=None).single_observation_space
    assert isinstance(space, spaces.Dict)
    features = ObservationFeatures(space, "tiny")
    assert features.groups == ["hidden", "prompt_hidden", "progress"] and features.size == 65


def test_an_untrained_scorer_gives_zero(space: spaces.Dict, observation: dict[str, Tensor]) -> None:
    scores = CandidateScorer(space, "tiny", width=16, rank=4)(observation)
    assert scores.shape == (5, 8)
    assert torch.equal(scores, torch.zeros(5, 8))


def test_scores_by_hand(
    scorer: CandidateScorer, observation: dict[str, Tensor], llm: FrozenLLM
) -> None:
    scores = scorer(observation)
    first = scorer.trunk[0]
    assert isinstance(first, torch.nn.Linear)
    for row in range(5):
        features = scorer.features(observation)[row]
        units = torch.tanh(first.weight @ features + first.bias)
        state = scorer.to_rank.weight @ units + scorer.to_rank.bias
        for rank, token in enumerate(observation["candidates"][row].tolist()):
            expected = state @ (scorer.project.weight @ llm.token_embeddings[token])
            torch.testing.assert_close(scores[row, rank], expected, atol=1e-4, rtol=1e-4)


def test_a_score_belongs_to_the_token_and_not_to_its_rank(
    scorer: CandidateScorer, observation: dict[str, Tensor]
) -> None:
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    shuffled = {**observation, "candidates": observation["candidates"][:, order]}
    torch.testing.assert_close(scorer(shuffled), scorer(observation)[:, order])
    assert float(scorer(observation).detach().std(dim=1).min()) > 0.0


def test_the_embedding_is_shared_and_neither_trained_nor_saved(
    scorer: CandidateScorer, observation: dict[str, Tensor], llm: FrozenLLM
) -> None:
    assert scorer.embeddings.data_ptr() == llm.token_embeddings.data_ptr()
    assert "embeddings" not in scorer.state_dict()
    assert all(p.data_ptr() != scorer.embeddings.data_ptr() for p in scorer.parameters())
    scorer(observation).sum().backward()
    assert llm.token_embeddings.grad is None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in scorer.parameters())


def test_an_untrained_scorer_can_learn(space: spaces.Dict, observation: dict[str, Tensor]) -> None:
    """Zero scores must not mean zero gradients."""
    scorer = CandidateScorer(space, "tiny", width=16, rank=4)
    scorer(observation)[:, 0].sum().backward()
    assert scorer.to_rank.weight.grad is not None
    assert float(scorer.to_rank.weight.grad.abs().max()) > 0.0
