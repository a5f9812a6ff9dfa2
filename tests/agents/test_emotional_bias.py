"""What emotions add to scores, by hand; and that fear changes what every emotional agent does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from erm_gym.agents import agent_names, make_agent
from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.factory import agent_spec
from erm_gym.emotion import EmotionalCritic, LogitModulator, ModulationConfig

MakeEnvs = Callable[..., VectorEnv]

EMOTIONAL = [name for name in agent_names() if agent_spec(name).emotional]
PLAIN_TWIN = {"emotional-frozen": "frozen", "emotional-ppo": "ppo", "feared-dqn": "dqn"}


@pytest.fixture
def bias() -> EmotionalBias:
    """Of six tokens 1 and 4 are cautious; fear also raises token 5, by the learned weights."""
    modulator = LogitModulator(6, ModulationConfig(rule_gain=3.0, initial_scale=0.5))
    modulator.set_category("cautious", [1, 4])
    with torch.no_grad():
        modulator.W[0, 5] = 2.0
    bias = EmotionalBias(6, 0.5)
    bias.adopt(modulator)
    return bias


def observation(fear: float, candidates: list[int]) -> dict[str, Tensor]:
    return {
        "emotion": torch.tensor([[fear, 0.0, 0.0, 0.0, 0.0, 0.0]]),
        "candidates": torch.tensor([candidates]),
    }


def test_on_logits_by_hand(bias: EmotionalBias) -> None:
    scores = torch.tensor([[0.0, -1.0, -2.0, -3.0]])
    # weight * (scale * fear * W): 0.5 * (0.5 * 0.8 * 2) = 0.4; weight * (gain * fear) = 1.2
    biased = bias.on_logits(scores, observation(0.8, [0, 4, 5, 1]))
    torch.testing.assert_close(biased, torch.tensor([[0.0, -1.0 + 1.2, -2.0 + 0.4, -3.0 + 1.2]]))
    # At 0.5 the rule is silent, and the learned part stays: 0.5 * (0.5 * 0.5 * 2) = 0.25
    biased = bias.on_logits(scores, observation(0.5, [0, 4, 5, 1]))
    torch.testing.assert_close(biased, torch.tensor([[0.0, -1.0, -2.0 + 0.25, -3.0]]))


def test_on_values_by_hand(bias: EmotionalBias) -> None:
    values = torch.tensor([[3.0, 1.0, 2.0]])  # their standard deviation is 1
    biased = bias.on_values(values, observation(1.0, [0, 1, 2]))
    torch.testing.assert_close(biased, torch.tensor([[3.0, 1.0 + 1.5, 2.0]]))
    biased = bias.on_values(10 * values, observation(1.0, [0, 1, 2]))
    torch.testing.assert_close(biased, torch.tensor([[30.0, 10.0 + 15.0, 20.0]]))


def test_equal_values_have_no_spread_and_stay_equal(bias: EmotionalBias) -> None:
    values = torch.full((1, 3), 2.0)
    assert torch.equal(bias.on_values(values, observation(1.0, [0, 1, 2])), values)


def test_without_weight_nothing_is_added(bias: EmotionalBias) -> None:
    bias.weight = 0.0
    scores = torch.randn(1, 4)
    for biased in (
        bias.on_logits(scores, observation(1.0, [0, 4, 5, 1])),
        bias.on_values(scores, observation(1.0, [0, 4, 5, 1])),
    ):
        assert biased is scores


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("-inf")])
def test_a_weight_below_zero_is_named(weight: float) -> None:
    with pytest.raises(ValueError, match=f"at least 0, got {weight}"):
        EmotionalBias(6, weight)


def test_adopt_copies(bias: EmotionalBias) -> None:
    source = LogitModulator(6)
    source.set_category("cautious", [2])
    bias.adopt(source)
    assert bias.modulator.category("cautious").tolist() == [2]
    source.set_category("cautious", [3])
    nn.init.ones_(source.W)
    assert bias.modulator.category("cautious").tolist() == [2]
    assert float(bias.modulator.W.detach().abs().max()) == 0.0


def test_gradients_pass_to_the_scores_and_never_to_the_modulator(bias: EmotionalBias) -> None:
    for on in (bias.on_logits, bias.on_values):
        scores = torch.randn(1, 4, requires_grad=True)
        (on(scores, observation(0.9, [0, 4, 5, 1])) ** 2).sum().backward()
        assert scores.grad is not None and float(scores.grad.abs().sum()) > 0.0
        assert all(parameter.grad is None for parameter in bias.parameters())
    assert not any(parameter.requires_grad for parameter in bias.parameters())


# -- every emotional agent -------------------------------------------------------------------------


@pytest.fixture
def states(make_envs: MakeEnvs) -> dict[str, np.ndarray]:
    """120 states that the frozen LM comes to."""
    envs = make_envs(40, prompts=[f"Question {n}" for n in range(40)], prompt_order="sequential")
    frozen = make_agent("frozen", envs, seed=0)
    observations, _ = envs.reset(seed=0)
    seen = []
    for _ in range(3):
        seen.append(observations)
        observations, *_ = envs.step(frozen.predict(observations)[0])
    return {key: np.concatenate([each[key] for each in seen]) for key in seen[0]}


def with_tonic_fear(
    states: dict[str, np.ndarray], critic: EmotionalCritic, level: float
) -> dict[str, np.ndarray]:
    """The same states, felt by an otherwise calm critic that was hurt before."""
    last = critic.fear_module.danger_net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, -2.0)
    calm = critic.initial_state(len(states["hidden"]))
    hurt = replace(calm, tonic_fear=torch.full_like(calm.tonic_fear, level))
    hidden = torch.from_numpy(states["hidden"])[:, None, None]
    with torch.no_grad():
        signals, fear, _ = critic.observe(
            hidden.expand(-1, -1, len(critic.config.layers), -1), hurt
        )
    return {**states, "emotion": signals.tensor.numpy(), "fear": fear.numpy()}


def test_every_emotional_agent_is_tested() -> None:
    assert set(EMOTIONAL) == set(PLAIN_TWIN)


@pytest.mark.parametrize("name", EMOTIONAL)
def test_a_state_exists_in_which_fear_changes_the_chosen_action(
    make_envs: MakeEnvs, critic: EmotionalCritic, states: dict[str, np.ndarray], name: str
) -> None:
    agent = make_agent(name, make_envs(), seed=0)
    calm, _ = agent.predict(with_tonic_fear(states, critic, 0.0), deterministic=True)
    afraid, _ = agent.predict(with_tonic_fear(states, critic, 1.0), deterministic=True)
    twin, _ = make_agent(PLAIN_TWIN[name], make_envs(), seed=0).predict(states, deterministic=True)
    np.testing.assert_array_equal(calm, twin)
    changed = np.flatnonzero(calm != afraid)
    assert len(changed) > 0
    cautious = critic.modulator.is_cautious(torch.from_numpy(states["candidates"])).numpy()
    assert cautious[changed, afraid[changed]].all()
    assert not cautious[changed, calm[changed]].any()


@pytest.mark.parametrize("name", EMOTIONAL)
def test_more_tonic_fear_means_more_cautious_choices(
    make_envs: MakeEnvs, critic: EmotionalCritic, states: dict[str, np.ndarray], name: str
) -> None:
    cautious = critic.modulator.is_cautious(torch.from_numpy(states["candidates"])).numpy()
    repeats = 150  # so that chance stays far below a level's effect

    def share(level: float) -> float:
        felt = with_tonic_fear(states, critic, level)
        agent = make_agent(name, make_envs(), seed=0)
        many = {key: np.tile(value, (repeats, 1)) for key, value in felt.items()}
        actions, _ = agent.predict(many, deterministic=name == "feared-dqn")
        chosen = np.tile(cautious, (repeats, 1))[np.arange(len(actions)), actions]
        return float(chosen.mean())

    shares = [share(level) for level in (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)]
    # A greedy agent has no more to give once every row that can be swayed is.
    rises = (low < high or (name == "feared-dqn" and low == high) for low, high in pairwise(shares))
    assert all(rises), shares
    assert shares[-1] > shares[0] + 0.2


@pytest.mark.parametrize("name", EMOTIONAL)
def test_fear_at_the_threshold_of_the_rule_changes_nothing(
    make_envs: MakeEnvs, critic: EmotionalCritic, states: dict[str, np.ndarray], name: str
) -> None:
    agent = make_agent(name, make_envs(), seed=0)
    calm, _ = agent.predict(with_tonic_fear(states, critic, 0.0), deterministic=True)
    uneasy, _ = agent.predict(with_tonic_fear(states, critic, 0.5), deterministic=True)
    np.testing.assert_array_equal(calm, uneasy)
