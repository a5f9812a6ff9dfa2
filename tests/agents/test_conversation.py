"""The agents where a reply is not the end, and where there are no tokens to choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from torch import Tensor, nn

from erm_gym.agents import AgentError, agent_names, load_agent, make_agent
from erm_gym.agents.factory import agent_spec
from erm_gym.agents.prior_dqn import PriorDQN
from erm_gym.agents.prior_policy import PriorPolicy
from erm_gym.agents.scorer import GROUP_SCALES, ObservationFeatures
from erm_gym.envs.text.control import emotion_control_vec
from erm_gym.envs.text.conversation import conversation_vec
from erm_gym.llm import FrozenLLM

MakeEnvs = Callable[..., VectorEnv]

TALK: dict[str, Any] = {"kind": conversation_vec, "max_turns": 3}


def tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in observation.items()}


# -- which agents fit ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", agent_names())
@pytest.mark.parametrize(
    "options",
    [{"kind": emotion_control_vec}, {"kind": conversation_vec, "actions": "control"}],
    ids=["control", "conversation"],
)
def test_agents_that_choose_tokens_are_refused_where_actions_are_numbers(
    make_envs: MakeEnvs, name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(AgentError, match=r"actions of this environment are numbers.*such as SAC"):
        make_agent(name, make_envs(2, **options))


@pytest.mark.parametrize("name", ["frozen", "ppo", "dqn"])
def test_an_observation_that_a_wrapper_flattened_is_refused(make_envs: MakeEnvs, name: str) -> None:
    envs = VectorWrapper(make_envs(2))
    envs.single_observation_space = spaces.Box(-1.0, 1.0, (9,))
    with pytest.raises(AgentError, match=r"read a Dict observation.*leave out the wrapper"):
        make_agent(name, envs)


@pytest.mark.parametrize("actions", ["candidates", "tokens"])
@pytest.mark.parametrize("name", ["ppo", "emotional-ppo"])
def test_ppo_learns_to_converse(
    make_envs: MakeEnvs, llm: FrozenLLM, tmp_path: Path, name: str, actions: str
) -> None:
    envs = make_envs(3, **TALK, actions=actions)
    frozen = {key: value.clone() for key, value in llm.model.state_dict().items()}
    agent = make_agent(name, envs, seed=0, n_steps=14, n_epochs=2, minibatches=3)
    assert isinstance(agent, BaseAlgorithm)
    before = {key: value.clone() for key, value in agent.policy.state_dict().items()}
    agent.learn(84)
    after = agent.policy.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert {"scorer.to_rank.weight", "value_net.weight"} <= moved
    assert not {key for key in moved if key.startswith("bias.")}
    for key, value in llm.model.state_dict().items():
        assert torch.equal(value, frozen[key]), key
    lengths = [info["l"] for info in agent.ep_info_buffer or []]
    assert lengths and max(lengths) > 4  # episodes of more than one reply
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent(name, tmp_path / "agent.zip", envs)
    observation, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0],
        agent.predict(observation, deterministic=True)[0],
    )


@pytest.mark.parametrize("name", [name for name in agent_names() if "ppo" not in name])
def test_the_other_agents_converse_as_well(make_envs: MakeEnvs, name: str) -> None:
    envs = make_envs(3, **TALK, top_p=0.5)
    learns = agent_spec(name).learns
    settings = {"learning_starts": 8, "batch_size": 16, "buffer_size": 128} if learns else {}
    agent = make_agent(name, envs, seed=0, **settings)
    agent.learn(48)
    observations, _ = envs.reset(seed=0)
    for _ in range(16):
        observations, *_ = envs.step(agent.predict(observations)[0])


# -- the turn --------------------------------------------------------------------------------------


def test_the_turn_is_read_where_there_is_one(make_envs: MakeEnvs) -> None:
    space = make_envs(2, **TALK).single_observation_space
    assert isinstance(space, spaces.Dict)
    features = ObservationFeatures(space, "tiny")
    assert features.groups == ["hidden", "prompt_hidden", "progress", "turn", "emotion", "fear"]
    observation, _ = make_envs(2, **TALK).reset(seed=0)
    place = 32 + 32 + 1  # behind the hidden states and progress
    for turn, expected in ((0.0, -1.0), (1 / 3, -1 / 3), (1.0, 1.0)):
        observation["turn"][:] = turn
        column = features(tensors(observation))[:, place]
        torch.testing.assert_close(column, torch.full((2,), expected * GROUP_SCALES["turn"]))


@torch.no_grad()
def test_values_and_choices_can_depend_on_the_turn(make_envs: MakeEnvs) -> None:
    envs = make_envs(2, **TALK)
    agent = make_agent("ppo", envs, seed=0)
    assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
    shake(agent.policy)
    observation, _ = envs.reset(seed=0)
    first = tensors(observation)
    later = {**first, "turn": torch.full((2, 1), 2 / 3)}
    assert not torch.equal(agent.policy.predict_values(first), agent.policy.predict_values(later))
    assert not torch.equal(agent.policy.scorer(first), agent.policy.scorer(later))


def shake(policy: PriorPolicy) -> None:
    """Gives the residual and the value function some weights."""
    generator = torch.Generator().manual_seed(0)
    for layer in (policy.scorer.to_rank, policy.value_net):
        nn.init.normal_(layer.weight, std=0.3, generator=generator)
    nn.init.constant_(policy.value_net.bias, 0.7)


# -- what a reply's end is worth -------------------------------------------------------------------


@torch.no_grad()
def test_only_the_end_of_a_conversation_is_worth_nothing(make_envs: MakeEnvs) -> None:
    """Where a reply ends and the conversation goes on, the next turn's value counts."""
    envs = make_envs(4, **TALK)
    agent = make_agent("ppo", envs, seed=0)
    assert isinstance(agent, PPO) and isinstance(agent.policy, PriorPolicy)
    shake(agent.policy)
    observations, _ = envs.reset(seed=0)
    seen = {"replies": 0, "terminated": 0, "truncated": 0}
    for step in range(40):
        observations, _, terminated, truncated, infos = envs.step(np.full(4, step % 3))
        assert (agent.policy.predict_values(tensors(observations)) != 0.0).all()
        for row in np.flatnonzero(infos.get("_transcript", [])):  # of a reply in the middle
            assert observations["progress"][row] == 0.0 < observations["turn"][row] < 1.0
            seen["replies"] += 1
        for row in np.flatnonzero(terminated | truncated):
            final = tensors({key: value[None] for key, value in infos["final_obs"][row].items()})
            assert float(final["progress"]) == float(final["turn"]) == 1.0
            assert float(agent.policy.predict_values(final)) == 0.0
            seen["truncated" if truncated[row] else "terminated"] += 1
    assert seen["replies"] > 4 and seen["truncated"] > 0, seen


def test_advantages_carry_a_later_reward_to_an_earlier_reply(make_envs: MakeEnvs) -> None:
    """With gamma and lambda 1, and values of zero, the return of a step is all that follows."""
    envs = make_envs(2, **TALK, user=lambda prompt, reply: 0.5, verdict_weight=0.0)
    agent = make_agent("ppo", envs, seed=0, n_steps=16, n_epochs=1)
    assert isinstance(agent, PPO)
    agent.learn(32)
    buffer = agent.rollout_buffer
    ends = [*(int(step) for step in np.flatnonzero(buffer.episode_starts[1:, 0]) + 1)]
    assert ends
    # The rollout began with zero values (an untrained value function), so returns are exact.
    expected = buffer.rewards[: ends[0], 0][::-1].cumsum()[::-1]
    np.testing.assert_allclose(buffer.returns[: ends[0], 0], expected, atol=1e-6)
    assert expected[0] >= 1.0  # two or more replies


def test_q_learning_bootstraps_into_the_next_turn_and_not_beyond_the_last(
    make_envs: MakeEnvs,
) -> None:
    envs = make_envs(3, **TALK)
    agent = make_agent(
        "dqn", envs, seed=0, learning_starts=8, batch_size=16, buffer_size=192, train_freq=4
    )
    assert isinstance(agent, PriorDQN)
    agent.learn(120)
    buffer = agent.replay_buffer
    assert isinstance(buffer, DictReplayBuffer)
    steps = buffer.pos
    after = tensors({key: value[:steps] for key, value in buffer.next_observations.items()})
    after = {key: value.flatten(0, 1) for key, value in after.items()}
    over = torch.from_numpy(buffer.dones[:steps] == 1.0).flatten()
    with torch.no_grad():
        best = agent.q_net(after).max(dim=1).values
    assert torch.equal(best[over], torch.zeros(int(over.sum())))
    between = ~over & (after["progress"][:, 0] == 0.0)
    assert int(over.sum()) > 2 and int(between.sum()) > 2
    assert float(best[between].abs().max()) > 0.0
