"""Pathways and feedback connections learn what is there, alike for a seed, and touch nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.steering import (
    AffectPathways,
    FeedbackConnections,
    UpperLayers,
    fit_feedback,
    fit_pathways,
)
from erm_gym.steering.feedback import FIRST_GATE
from erm_gym.steering.pathways import RIDGE, SIGNAL_SIZE


def related(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """States whose first number is valence and second arousal, on scales of their own."""
    states = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    return states * 50.0 + 7.0, states[:, :2] * torch.tensor([2.0, 0.1]) + 3.0


def test_pathways_learn_and_keep_the_scales() -> None:
    states, ratings = related()
    made = fit_pathways(states[:300], ratings[:300], 5, seed=0, epochs=40)
    predicted = made(states[300:]).ratings
    wanted = made.standardised(ratings[300:])
    for place in range(2):
        assert torch.corrcoef(torch.stack((predicted[:, place], wanted[:, place])))[0, 1] > 0.9
    assert made.layer == 5
    torch.testing.assert_close(wanted.std(dim=0), torch.ones(2), atol=0.15, rtol=0)
    spread = made.spread(made(states[:300]).ratings)
    torch.testing.assert_close(spread.std(dim=0), torch.ones(2), atol=0.1, rtol=0)


def test_a_seed_makes_the_same_pathways_and_no_global_random_state_changes() -> None:
    states, ratings = related(60)
    before = torch.get_rng_state()
    one, same, other = (fit_pathways(states, ratings, 1, seed=s, epochs=2) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert not any(weight.requires_grad for weight in one.parameters())


def test_whitened_signals_have_mean_zero_and_nearly_equal_variances() -> None:
    states, _ = related()
    made = AffectPathways(6, 1).eval()
    made.whiten(states)
    signals = made(states).signals.detach()  # [N, 2, 128]
    assert signals.shape == (400, 2, SIGNAL_SIZE)
    torch.testing.assert_close(signals.mean(dim=0), torch.zeros(2, SIGNAL_SIZE), atol=1e-4, rtol=0)
    variances = torch.linalg.eigvalsh(torch.cov(signals[:, 0].T, correction=0))
    assert float(variances[-1]) == pytest.approx(1.0 / (1.0 + RIDGE), rel=1e-2)


def test_whitening_does_not_change_predictions() -> None:
    states, _ = related(30)
    made = AffectPathways(6, 1).eval()
    before = made(states).ratings
    made.whiten(states)
    assert torch.equal(made(states).ratings, before)


@pytest.mark.parametrize(
    ("states", "ratings", "message"),
    [
        (torch.zeros(30, 4), torch.zeros(29, 2), "states must be"),
        (torch.zeros(5, 4), torch.zeros(5, 2), "20 rated texts at least, got 5"),
        (torch.full((30, 4), torch.nan), torch.zeros(30, 2), "not finite"),
        (torch.zeros(30, 4), torch.ones(30, 2), "same valence"),
    ],
)
def test_wrong_data_are_errors(states: Any, ratings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_pathways(states, ratings, 1, seed=0)


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def fitted(llm: FrozenLLM, seed: int) -> tuple[AffectPathways, FeedbackConnections]:
    texts = [f"{'good' if number % 2 else 'bad'} number {number}" for number in range(40)]
    ratings = torch.tensor([[float(number % 2), float(number % 3)] for number in range(40)])
    upper = UpperLayers(llm, 1, 3)
    lower = upper.read(texts)
    with torch.no_grad():
        states = torch.cat([upper.pooled(lower, [row], {}) for row in range(40)])
    pathways = fit_pathways(states, ratings, 3, seed=0, epochs=3)
    return pathways, fit_feedback(
        pathways, upper, lower, ratings, layers=(1, 2), seed=seed, epochs=1
    )


def test_feedback_learns_and_leaves_lm_and_pathways_as_they_were(llm: FrozenLLM) -> None:
    weights = copy.deepcopy(llm.model.state_dict())
    pathways, made = fitted(llm, 0)
    alone = copy.deepcopy(pathways.state_dict())
    _, same = fitted(llm, 0)
    _, other = fitted(llm, 1)
    assert not torch.allclose(made.gates, torch.full_like(made.gates, FIRST_GATE))
    assert torch.equal(made.projections, same.projections)
    assert not torch.equal(made.projections, other.projections)
    assert all(torch.equal(value, weights[name]) for name, value in llm.model.state_dict().items())
    assert all(torch.equal(value, alone[name]) for name, value in pathways.state_dict().items())


def test_deviations_are_those_of_the_layers_token_states(llm: FrozenLLM) -> None:
    texts = ["one text", "another one, which is longer"] * 20
    upper = UpperLayers(llm, 1, 3)
    lower = upper.read(texts)
    ratings = torch.arange(80.0).view(40, 2)
    states = torch.randn(40, llm.hidden_size, generator=torch.Generator().manual_seed(0))
    pathways = fit_pathways(states, ratings, 3, seed=0, epochs=1)
    made = fit_feedback(pathways, upper, lower, ratings, layers=(1,), seed=0, epochs=0)
    own = torch.cat([row[1:] for row in lower.rows])
    torch.testing.assert_close(
        made.deviations[0], own.std(dim=0, correction=0), rtol=1e-3, atol=1e-5
    )


def test_pathways_of_another_layer_are_an_error(llm: FrozenLLM) -> None:
    upper = UpperLayers(llm, 1, 3)
    lower = upper.read(["a"])
    with pytest.raises(ValueError, match="read layer 2 and the blocks end at 3"):
        fit_feedback(
            AffectPathways(llm.hidden_size, 2), upper, lower, torch.zeros(1, 2), layers=(1,), seed=0
        )
