"""Pathways and feedback connections learn what is there, alike for a seed, and touch nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.steering import (
    BINNINGS,
    AffectPathways,
    FeedbackConnections,
    RatedStates,
    SteeringSignals,
    UpperLayers,
    extract_signals,
    fit_feedback,
    fit_pathways,
)
from erm_gym.steering.feedback import FIRST_GATE
from erm_gym.steering.pathways import RIDGE, SIGNAL_SIZE
from erm_gym.steering.reading import mean_states


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


@pytest.fixture(scope="module")
def data(llm: FrozenLLM) -> RatedStates:
    texts = [f"{'good' if number % 2 else 'bad'} number {number}" for number in range(160)]
    ratings = torch.tensor([[float(number % 2), float(number % 3)] for number in range(160)])
    return RatedStates.read(UpperLayers(llm, 1, 3), texts, ratings)


def fitted(data: RatedStates, seed: int) -> tuple[AffectPathways, FeedbackConnections]:
    """Pathways that learned little, so that there is something left to help with."""
    pathways = fit_pathways(data.states, data.ratings, 3, seed=0, epochs=3)
    return pathways, fit_feedback(
        pathways, data, signals_of(pathways, data), layers=(1, 2), seed=seed, epochs=3
    )


def signals_of(pathways: AffectPathways, data: RatedStates) -> dict[str, SteeringSignals]:
    with torch.no_grad():
        activations = pathways(data.states).signals
    rated = pathways.standardised(data.ratings)
    return {
        name: extract_signals(activations, rated, grid, min_samples=1)
        for name, grid in BINNINGS.items()
    }


def test_feedback_learns_and_leaves_lm_and_pathways_as_they_were(
    llm: FrozenLLM, data: RatedStates
) -> None:
    weights = copy.deepcopy(llm.model.state_dict())
    pathways, made = fitted(data, 0)
    alone = copy.deepcopy(pathways.state_dict())
    _, same = fitted(data, 0)
    _, other = fitted(data, 1)
    assert made.errors[1] < made.errors[0]
    assert not torch.allclose(made.gates, torch.full_like(made.gates, FIRST_GATE))
    assert torch.equal(made.projections, same.projections)
    assert not torch.equal(made.projections, other.projections)
    assert all(torch.equal(value, weights[name]) for name, value in llm.model.state_dict().items())
    assert all(torch.equal(value, alone[name]) for name, value in pathways.state_dict().items())


def test_what_is_kept_did_best_on_held_out_texts(data: RatedStates) -> None:
    """Ratings that are what the pathways predict already: steering can only do harm."""
    pathways = fit_pathways(data.states, data.ratings, 3, seed=0, epochs=3)
    predicted = pathways(mean_states(data.upper, data.lower)).ratings
    same = replace(data, lower_ratings=pathways.rating_mean + predicted * pathways.rating_sd)
    signals = signals_of(pathways, data)
    errors = [
        fit_feedback(pathways, same, signals, layers=(1, 2), seed=0, epochs=epochs).errors
        for epochs in (1, 2, 4)
    ]
    assert all(float(first) == pytest.approx(0.0, abs=1e-6) for first, _ in errors)
    steered = [float(second) for _, second in errors]
    assert steered[0] >= steered[1] >= steered[2] > 0.0


def test_deviations_are_those_of_the_layers_token_states(llm: FrozenLLM) -> None:
    texts = ["one text", "another one, which is longer"] * 20
    ratings = torch.arange(80.0).view(40, 2)
    data = RatedStates.read(UpperLayers(llm, 1, 3), texts, ratings)
    pathways = fit_pathways(data.states, data.ratings, 3, seed=0, epochs=1)
    signals = signals_of(pathways, data)
    made = fit_feedback(pathways, data, signals, layers=(1,), seed=0, epochs=0)
    own = torch.cat([row[1:] for row in data.lower.rows])
    torch.testing.assert_close(
        made.deviations[0], own.std(dim=0, correction=0), rtol=1e-3, atol=1e-5
    )


def test_pathways_of_another_layer_are_an_error(llm: FrozenLLM) -> None:
    data = RatedStates.read(UpperLayers(llm, 1, 3), ["a"] * 40, torch.zeros(40, 2))
    with pytest.raises(ValueError, match="read layer 2 and the blocks end at 3"):
        fit_feedback(AffectPathways(llm.hidden_size, 2), data, {}, layers=(1,), seed=0)


def test_what_feedback_learns_from_is_kept_from_the_pathways_wherever_it_is_in_the_file(
    llm: FrozenLLM,
) -> None:
    """Each text has a rating of its own, so that ratings tell texts apart."""
    texts, ratings = [f"text {number}" for number in range(40)], torch.arange(80.0).view(40, 2)
    upper = UpperLayers(llm, 1, 3)
    data, same = (RatedStates.read(upper, texts, ratings) for _ in range(2))
    others, kept = (set(own[:, 0].tolist()) for own in (data.ratings, data.lower_ratings))
    assert (len(others), len(kept)) == (30, 10)
    assert not others & kept
    assert max(kept) > 40  # not the first ones
    assert torch.equal(data.lower_ratings, same.lower_ratings)
    with torch.no_grad():
        row = int(data.lower_ratings[3, 0]) // 2
        torch.testing.assert_close(data.lower.rows[3], upper.read([texts[row]]).rows[0])
    with pytest.raises(ValueError, match="feedback_share"):
        RatedStates.read(upper, texts, ratings, feedback_share=1.0)
    with pytest.raises(ValueError, match="of 25 rated texts 19"):
        RatedStates.read(upper, texts[:25], ratings[:25])
    with pytest.raises(ValueError, match="40 texts and 3 ratings"):
        RatedStates.read(upper, texts, ratings[:3])
