"""The critic as a whole: what it feels, its state, and what it does to the policy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from erm_gym.emotion import CriticConfig, EmotionalCritic, EmotionalSignals, FearConfig

CALM = 1 / (1 + math.exp(2))  # an untrained danger net


def states(*batch: int) -> torch.Tensor:
    """Hidden states of one position at the layers 2, 3, 5 and 6, `[..., 1, 4, 12]`."""
    return torch.randn(*batch, 1, 4, 12)


@pytest.fixture
def critic(llm: Any) -> EmotionalCritic:
    critic = EmotionalCritic.for_llm(llm)
    nn.init.normal_(critic.erm.heads.weight, generator=torch.Generator().manual_seed(0))
    return critic


def test_for_llm_takes_sizes_and_categories_and_no_global_randomness(llm: Any) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = EmotionalCritic.for_llm(llm), EmotionalCritic.for_llm(llm)
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.training and not first.config.trained
    assert (first.config.hidden_size, first.config.layer) == (12, 2)
    assert len(first.modulator.category("cautious")) > 50
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    other = EmotionalCritic.for_llm(llm, seed=1)
    assert not torch.equal(other.erm.pooling.query, first.erm.pooling.query)


@torch.no_grad()
def test_fear_and_anxiety_are_the_larger_of_both_modules(critic: EmotionalCritic) -> None:
    hidden, state = states(2), critic.initial_state(2)
    felt, _ = critic.erm.step(hidden[:, 0, 1:], state.erm)  # layer 2 is the FearModule's
    feedback = torch.tensor([math.nan, -1.0])
    state = dataclasses.replace(state, tonic_fear=torch.tensor([0.0, 0.6]))
    signals, fear, following = critic.observe(hidden, state, feedback)
    torch.testing.assert_close(fear, torch.tensor([[CALM, 0.0], [CALM, 0.9]]))
    torch.testing.assert_close(following.tonic_fear, torch.tensor([0.0, 0.81]))
    assert signals.fear[0] == max(felt.fear[0].item(), fear[0, 0].item())
    assert signals.fear[1] == max(felt.fear[1].item(), fear[1, 1].item())
    assert signals.anxiety[0] == felt.anxiety[0]
    assert signals.anxiety[1] == max(felt.anxiety[1].item(), fear[1, 1].item())
    unchanged = [1, 2, 3, 5]
    assert torch.equal(signals.tensor[:, unchanged], felt.tensor[:, unchanged])


@torch.no_grad()
def test_batch_of_one_equals_batch_of_many(critic: EmotionalCritic) -> None:
    hidden = states(5, 4)
    feedback = torch.where(torch.rand(5, 4) < 0.3, -1.0, math.nan)

    def read(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        state, signals, fears = critic.initial_state(len(range(4)[rows])), [], []
        for h, f in zip(hidden[:, rows], feedback[:, rows], strict=True):
            felt, fear, state = critic.observe(h, state, f)
            signals.append(felt.tensor)
            fears.append(fear)
        return torch.stack(signals), torch.stack(fears)

    together = read(slice(0, 4))
    for row in range(4):
        for many, one in zip(together, read(slice(row, row + 1)), strict=True):
            torch.testing.assert_close(many[:, row], one[:, 0], atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("keep", [False, True])
def test_reset_clears_only_the_rows_it_names(llm: Any, keep: bool) -> None:
    critic = EmotionalCritic.for_llm(llm, keep_tonic_fear=keep, fear=FearConfig(clock="episode"))
    hurt = torch.full((2,), -1.0)
    _, _, state = critic.observe(states(2), critic.initial_state(2), hurt)
    after = critic.reset(state, torch.tensor([True, False]))
    fresh = critic.initial_state(2)
    assert torch.equal(after.erm.tonic[0], fresh.erm.tonic[0])
    assert torch.equal(after.erm.pool.denominator[0], fresh.erm.pool.denominator[0])
    assert torch.equal(after.erm.pool.numerator[1], state.erm.pool.numerator[1])
    torch.testing.assert_close(after.tonic_fear, torch.tensor([0.3 if keep else 0.0, 0.3]))


@torch.no_grad()
def test_a_kept_state_brings_back_the_same_signals(critic: EmotionalCritic) -> None:
    hidden = states(3, 2)
    _, _, snapshot = critic.observe(hidden[0], critic.initial_state(2))
    first, _, state = critic.observe(hidden[1], snapshot)
    critic.observe(hidden[2], state)
    again, _, _ = critic.observe(hidden[1], snapshot)
    assert torch.equal(first.tensor, again.tensor)


@torch.no_grad()
def test_pain_changes_the_chosen_candidate(llm: Any) -> None:
    critic = EmotionalCritic.for_llm(llm)
    bold, cautious = llm.tokenizer.encode(" sure")[0], llm.tokenizer.encode(" sorry")[0]
    logits, candidates = torch.tensor([[0.5, 0.0]]), torch.tensor([[bold, cautious]])
    hidden, state = states(1), critic.initial_state(1)
    choices = []
    for feedback in (math.nan, -1.0, -1.0):
        signals, _, state = critic.observe(hidden, state, torch.tensor([feedback]))
        choices.append((logits + critic.bias(signals, candidates)).argmax().item())
    assert choices == [0, 0, 1]  # fear: .12, .3, .57


@torch.no_grad()
def test_an_untrained_critic_has_no_bias(llm: Any) -> None:
    critic = EmotionalCritic.for_llm(llm)
    signals, _, _ = critic.observe(100 * states(8), critic.initial_state(8))
    assert signals.tensor.max() <= 0.5
    assert not critic.bias(signals).any()
    assert critic.bias(signals).shape == (8, llm.vocab_size)


def test_temperature_is_that_of_the_modulator(critic: EmotionalCritic) -> None:
    signals = EmotionalSignals.zeros(1).with_(fear=1.0, confidence=0.5)
    torch.testing.assert_close(critic.temperature(signals), torch.tensor([0.7]))


def test_gradients_reach_the_parts_and_stop_at_a_detached_state(critic: EmotionalCritic) -> None:
    hidden, candidates = states(3, 2), torch.tensor([[1, 2], [3, 4]])
    _, _, state = critic.observe(hidden[0], critic.initial_state(2))
    assert state.erm.tonic.requires_grad and not state.detach().erm.tonic.requires_grad
    critic.modulator.W.data.normal_()
    *_, weight, bias = critic.fear_module.danger_net.parameters()
    nn.init.normal_(weight, std=0.1)
    nn.init.constant_(bias, 3.0)  # so that danger is the fear
    signals, _, _ = critic.observe(hidden[1], state)
    (critic.bias(signals, candidates).sum() + critic.temperature(signals).sum()).backward()
    untrained = {f"fear_module.{name}" for name in ("pain_net.0", "pain_net.2")}
    for name, parameter in critic.named_parameters():
        if name.rpartition(".")[0] not in untrained:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_hidden_states_that_are_no_numbers_are_an_error(
    critic: EmotionalCritic, bad: float
) -> None:
    hidden = torch.zeros(3, 1, 4, 12)
    hidden[1, 0, 2, 4] = bad
    with pytest.raises(ValueError, match=r"rows \[1\] contain nan or infinity"):
        critic.observe(hidden, critic.initial_state(3))
    read = torch.ones(3, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"rows \[1\] contain nan"):
        critic.observe(hidden, critic.initial_state(3), mask=read)


def test_padding_may_be_anything(critic: EmotionalCritic) -> None:
    hidden = torch.randn(2, 3, 4, 12)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    expected = critic.observe(hidden, critic.initial_state(2), mask=mask)
    hidden[0, 2] = math.nan
    signals, fear, _ = critic.observe(hidden, critic.initial_state(2), mask=mask)
    torch.testing.assert_close(signals.tensor, expected[0].tensor)
    torch.testing.assert_close(fear, expected[1])


def test_the_notice_goes_once_the_erm_is_trained(critic: EmotionalCritic) -> None:
    notice = critic.notice()
    assert notice is not None and "'stand-in' is untrained" in notice and "\n" not in notice
    critic.config = dataclasses.replace(critic.config, trained=True)
    assert critic.notice() is None


@pytest.mark.parametrize("name", ["hidden_size", "vocab_size", "layer", "seed"])
def test_a_size_out_of_range_is_an_error(critic: EmotionalCritic, name: str) -> None:
    with pytest.raises(ValueError, match=f"CriticConfig.{name} is -1"):
        dataclasses.replace(critic.config, **{name: -1})  # type: ignore[arg-type]


def test_the_configuration_survives_plain_values(critic: EmotionalCritic) -> None:
    config = dataclasses.replace(
        critic.config, fear=FearConfig(decay=0.5, clock="turn"), keep_tonic_fear=True
    )
    assert CriticConfig.from_dict(dataclasses.asdict(config)) == config
    with pytest.raises(ValueError, match=r"'vocabulary'.*'vocab_size'"):
        CriticConfig.from_dict({**dataclasses.asdict(config), "vocabulary": 3})
    values = dataclasses.asdict(config)
    with pytest.raises(ValueError, match=r"'rates'; the keys of fear are .*'decay'"):
        CriticConfig.from_dict({**values, "fear": {"rates": 1.0}})
    with pytest.raises(ValueError, match="erm is 3, not a table"):
        CriticConfig.from_dict({**values, "erm": 3})
    with pytest.raises(ValueError, match=r"thresholds is 1\.5"):
        dataclasses.replace(config, thresholds=(1.5,) * (6 + len(config.erm.labels)))
