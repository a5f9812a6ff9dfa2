"""The channels of the classic agents on candidate tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from erm_gym.agents import AgentError, make_agent
from erm_gym.agents.emotional_ed import Channel
from erm_gym.agents.emotional_ed.forms import Bonus, Exploration, RankPreserving
from erm_gym.agents.prior_dqn import PriorDQN
from erm_gym.agents.text_channels import ChannelBias, CriticSignal, towards, use_channels
from erm_gym.emotion import LogitModulator, ModulationConfig

MakeEnvs = Callable[..., VectorEnv]


@pytest.fixture
def modulator() -> LogitModulator:
    """Of six tokens 1 and 4 are cautious; a drive of 1 adds 3 to them."""
    modulator = LogitModulator(6, ModulationConfig(rule_gain=3.0))
    modulator.set_category("cautious", [1, 4])
    return modulator


def seen(fear: float, mask: list[bool] | None = None) -> dict[str, Tensor]:
    observation = {
        "emotion": torch.tensor([[fear, 0.0, 0.0, 0.0, 0.0, 0.0]]),
        "candidates": torch.tensor([[0, 4, 5]]),
    }
    return observation if mask is None else observation | {"action_mask": torch.tensor([mask])}


def test_a_bonus_by_hand(modulator: LogitModulator) -> None:
    bonus = Bonus(towards("fear"), size=0.5, relative=True)
    bias = ChannelBias(modulator, [Channel(CriticSignal("fear"), [bonus])])
    values = torch.tensor([[2.0, 1.0, 0.0]])  # they spread over 2; .5 * fear * 2 * 3 is added
    found = bias.on_values(values, seen(0.25))
    torch.testing.assert_close(found, torch.tensor([[2.0, 1.75, 0.0]]))
    found = bias.on_values(values, seen(0.25, [True, True, False]))  # now they spread over 1
    torch.testing.assert_close(found, torch.tensor([[2.0, 1.375, 1.0]]))


def test_form_a_never_changes_the_greedy_token(modulator: LogitModulator) -> None:
    bias = ChannelBias(modulator, [Channel(CriticSignal("fear"), [RankPreserving()])])
    values = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    found = bias.on_values(values, seen(1.0))
    assert not torch.equal(found, values)
    assert found.argmax() == values.argmax()


def choices(agent: PriorDQN, envs: VectorEnv) -> np.ndarray:
    observations, _ = envs.reset(seed=0)
    chosen = []
    for _ in range(4):
        actions, _ = agent.predict(observations)
        observations, *_ = envs.step(actions)
        chosen.append(actions)
    return np.stack(chosen)


def test_fear_turns_a_q_learner_to_cautious_tokens(make_envs: MakeEnvs) -> None:
    def chosen(weight: float | None) -> np.ndarray:
        envs = make_envs(4)
        agent = make_agent("dqn", envs, seed=0)
        assert isinstance(agent, PriorDQN)
        if weight is not None:
            bonus = Bonus(towards("fear"), size=3.0, relative=True)
            use_channels(agent, [Channel(CriticSignal("fear"), [bonus], weight)])
        agent.learn(16)
        return choices(agent, envs)

    plain = chosen(None)
    np.testing.assert_array_equal(chosen(0.0), plain)
    assert (chosen(1.0) != plain).any()


def test_what_cannot_act_is_refused(make_envs: MakeEnvs, modulator: LogitModulator) -> None:
    with pytest.raises(AgentError, match="Exploration acts on the epsilon"):
        ChannelBias(modulator, [Channel(CriticSignal("fear"), [Exploration(0.5)])])
    with pytest.raises(AgentError, match="unknown emotion 'dread'"):
        CriticSignal("dread")
    agent = make_agent("dqn", make_envs(2, critic=None), seed=0)
    assert isinstance(agent, PriorDQN)
    with pytest.raises(AgentError, match="critic='default'"):
        use_channels(agent, [])
