"""Agents by name: what is refused, twins without bias, and saved agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.distributions import Categorical

from erm_gym.agents import (
    AgentError,
    DQNConfig,
    PPOConfig,
    agent_names,
    load_agent,
    make_agent,
)
from erm_gym.agents.factory import agent_spec, find_critic
from erm_gym.agents.prior_dqn import PriorDQN, PriorQNetwork
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.emotion import EmotionalCritic, LogitModulator, ModulationConfig
from erm_gym.llm import FrozenLLM
from erm_gym.llm.tiny import build_tiny_model

MakeEnvs = Callable[..., VectorEnv]

LEARNING = [name for name in agent_names() if agent_spec(name).learns]
SMALL: dict[type, dict[str, Any]] = {
    PPOConfig: {"n_steps": 8, "n_epochs": 2},
    DQNConfig: {"learning_starts": 8, "batch_size": 16, "buffer_size": 256},
}


def small(name: str) -> dict[str, Any]:
    return SMALL.get(type(agent_spec(name).config), {})


def states(envs: VectorEnv) -> dict[str, np.ndarray]:
    observations, _ = envs.reset(seed=9)
    observations, *_ = envs.step(np.arange(envs.num_envs) % 4)
    return observations


def weights(agent: Any) -> dict[str, torch.Tensor]:
    assert isinstance(agent, BaseAlgorithm)
    return dict(agent.policy.state_dict())


def logits(agent: Any, observation: dict[str, np.ndarray]) -> torch.Tensor:
    tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
    with torch.no_grad():
        if isinstance(agent, PPO):
            distribution = agent.policy.get_distribution(tensors).distribution
            assert isinstance(distribution, Categorical)
            return distribution.logits
        assert isinstance(agent, PriorDQN) and isinstance(agent.q_net, PriorQNetwork)
        return agent.q_net.bias.on_values(agent.q_net(tensors), tensors)


def test_the_names() -> None:
    assert set(agent_names()) == {
        *("frozen", "random", "emotional-frozen"),
        *("ppo", "emotional-ppo", "dqn", "feared-dqn"),
    }


@pytest.mark.parametrize("name", agent_names())
def test_every_agent_acts_and_learns(make_envs: MakeEnvs, name: str) -> None:
    envs = make_envs(3)
    agent = make_agent(name, envs, seed=0, **small(name))
    observation = states(envs)
    actions, _ = agent.predict(observation, deterministic=True)
    assert envs.action_space.contains(np.asarray(actions, np.int64))
    agent.learn(24)
    assert agent.num_timesteps >= 24
    assert isinstance(agent, SamplingAgent) is not agent_spec(name).learns


@pytest.mark.parametrize("name", ["ppo", "dqn", "frozen", "random"])
def test_plain_agents_need_no_critic(make_envs: MakeEnvs, name: str) -> None:
    envs = make_envs(2, critic=None)
    agent = make_agent(name, envs, seed=0, **small(name))
    agent.learn(32)
    agent.predict(states(envs))


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["emotional-ppo", "feared-dqn", "emotional-frozen"])
def test_emotional_agents_need_a_critic(make_envs: MakeEnvs, name: str) -> None:
    with pytest.raises(AgentError, match=f"'{name}' acts on emotions.*critic='default'"):
        make_agent(name, make_envs(critic=None))


@pytest.mark.parametrize(
    ("name", "message"),
    [("emotional-pp0", "did you mean 'emotional-ppo'"), ("zzz", r"there are \['frozen'")],
)
def test_an_unknown_name_is_named(make_envs: MakeEnvs, name: str, message: str) -> None:
    for call in (
        lambda: make_agent(name, make_envs()),
        lambda: load_agent(name, "nowhere", make_envs()),
    ):
        with pytest.raises(AgentError, match=f"unknown agent '{name}'; {message}"):
            call()


@pytest.mark.parametrize(
    ("name", "hyperparameter", "message"),
    [
        (
            "ppo",
            "learning_rat",
            "unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'",
        ),
        ("emotional-ppo", "buffer_size", "unknown hyperparameter 'buffer_size'"),
        ("dqn", "clip_range", "unknown hyperparameter 'clip_range'"),
        ("feared-dqn", "zzz", "unknown hyperparameter 'zzz'; there are .*'prior_scale'"),
        ("frozen", "learning_rate", "does not learn has no 'learning_rate'"),
        ("random", "gamma", "does not learn has no 'gamma'"),
    ],
)
def test_an_unknown_hyperparameter_is_named(
    make_envs: MakeEnvs, name: str, hyperparameter: str, message: str
) -> None:
    with pytest.raises(AgentError, match=message):
        make_agent(name, make_envs(), **{hyperparameter: 1})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ppo", {"n_steps": 0}),
        ("ppo", {"minibatches": 0}),
        ("ppo", {"learning_rate": -1.0}),
        ("dqn", {"batch_size": 0}),
        ("dqn", {"prior_scale": -1.0}),
        ("emotional-ppo", {"bias_weight": -1.0}),
        ("feared-dqn", {"bias_weight": -1.0}),
        ("emotional-frozen", {"bias_weight": -1.0}),
        ("emotional-ppo", {"bias_weight": float("nan")}),
    ],
)
def test_a_hyperparameter_out_of_range_is_named(
    make_envs: MakeEnvs, name: str, values: dict[str, Any]
) -> None:
    (hyperparameter,) = values
    with pytest.raises(AgentError, match=hyperparameter):
        make_agent(name, make_envs(), **values)


def test_an_environment_without_a_language_model_is_refused() -> None:
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    envs = gym.make_vec("CartPole-v1", vectorization_mode="sync", vector_kwargs=mode)
    for name in ("ppo", "dqn"):
        with pytest.raises(AgentError, match="frozen LM's tokens, but the environment has none"):
            make_agent(name, envs)


def test_every_hyperparameter_reaches_its_algorithm(make_envs: MakeEnvs) -> None:
    ppo = make_agent(
        "ppo",
        make_envs(2),
        n_steps=6,
        minibatches=3,
        n_epochs=2,
        learning_rate=0.5,
        clip_range=0.3,
        gamma=0.7,
        gae_lambda=0.6,
        kl_weight=0.4,
        width=5,
        rank=3,
    )
    assert isinstance(ppo, PPO)
    assert (ppo.n_steps, ppo.batch_size, ppo.n_epochs) == (6, 4, 2)
    assert (ppo.learning_rate, ppo.gamma, ppo.gae_lambda, ppo.ent_coef) == (0.5, 0.7, 0.6, 0.4)
    assert callable(ppo.clip_range) and ppo.clip_range(1.0) == 0.3
    assert weights(ppo)["scorer.to_rank.weight"].shape == (3, 5)
    changed: dict[str, Any] = {
        "learning_rate": 0.5,
        "buffer_size": 64,
        "learning_starts": 7,
        "train_freq": 3,
        "gradient_steps": 2,
        "batch_size": 5,
        "gamma": 0.7,
        "target_update_interval": 11,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.3,
        "width": 5,
        "rank": 3,
        "prior_scale": 0.4,
    }
    assert set(changed) == {field.name for field in fields(DQNConfig)}
    dqn = make_agent("dqn", make_envs(2), **changed)
    assert isinstance(dqn, PriorDQN)
    for name in set(changed) - {"train_freq", "buffer_size", "width", "rank", "prior_scale"}:
        assert getattr(dqn, name) == changed[name], name
    assert dqn.train_freq.frequency == 3  # type: ignore[union-attr]
    assert weights(dqn)["q_net.scorer.to_rank.weight"].shape == (3, 5)
    assert dqn.q_net.prior_scale == 0.4


def test_the_critic_is_found_behind_wrappers(make_envs: MakeEnvs, critic: EmotionalCritic) -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(make_envs())
    assert find_critic(envs) is critic
    assert find_critic(make_envs(critic=None)) is None


# -- twins and seeds -------------------------------------------------------------------------------


@pytest.mark.parametrize(("emotional", "plain"), [("emotional-ppo", "ppo"), ("feared-dqn", "dqn")])
def test_without_bias_the_emotional_agent_is_its_plain_twin(
    make_envs: MakeEnvs, emotional: str, plain: str
) -> None:
    """Bit for bit after training at the same seed, while with the bias it is another agent."""

    def trained(name: str, **settings: Any) -> Any:
        return make_agent(name, make_envs(3), seed=4, **small(name), **settings).learn(48)

    twin = trained(plain)
    unbiased, biased = trained(emotional, bias_weight=0.0), trained(emotional)
    expected = weights(twin)
    assert expected.keys() == weights(unbiased).keys()
    for key, value in weights(unbiased).items():
        assert torch.equal(value, expected[key]), key
    observation = states(make_envs(3))
    assert torch.equal(logits(unbiased, observation), logits(twin, observation))
    assert any(not torch.equal(value, expected[key]) for key, value in weights(biased).items())
    assert not torch.equal(logits(biased, observation), logits(twin, observation))
    untrained = weights(make_agent(plain, make_envs(3), seed=4))
    assert any(not torch.equal(value, untrained[key]) for key, value in expected.items())


def test_without_bias_the_emotional_lm_is_the_frozen_one(make_envs: MakeEnvs) -> None:
    envs = make_envs(3)
    plain = make_agent("frozen", envs, seed=4)
    unbiased = make_agent("emotional-frozen", envs, seed=4, bias_weight=0.0)
    observation = states(envs)
    for _ in range(20):
        np.testing.assert_array_equal(
            plain.predict(observation)[0], unbiased.predict(observation)[0]
        )


@pytest.mark.parametrize("name", LEARNING)
def test_training_is_reproducible(make_envs: MakeEnvs, name: str) -> None:
    one, again, other = (
        weights(make_agent(name, make_envs(2), seed=seed, **small(name)).learn(24))
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(value, again[key]) for key, value in one.items())
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


def test_ppo_learns_which_candidate_pays(make_envs: MakeEnvs, llm: FrozenLLM) -> None:
    """One prompt, one token: the fourth candidate earns 1 and the others -1."""
    options: dict[str, Any] = {"prompts": ["Hi"], "k": 4, "max_new_tokens": 1}
    observations, _ = make_envs(1, **options).reset(seed=0)
    target = llm.decode([int(observations["candidates"][0, 3])])
    envs = make_envs(
        16,
        **options,
        prior_temperature=5.0,
        user=lambda prompt, reply: 1.0 if reply == target else -1.0,
    )
    agent = make_agent("ppo", envs, seed=0, n_steps=5, learning_rate=0.01)
    before = logits(agent, states(envs)).softmax(-1)[0]
    agent.learn(160)
    after = logits(agent, states(envs)).softmax(-1)[0]
    assert before[3] < 0.4 and after[3] > 0.8


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNING)
def test_saved_is_loaded(make_envs: MakeEnvs, tmp_path: Path, name: str) -> None:
    envs = make_envs(3)
    agent = make_agent(name, envs, seed=4, **small(name)).learn(24)
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent(name, tmp_path / "agent.zip", make_envs(3))
    expected = weights(agent)
    assert weights(loaded).keys() == expected.keys()
    for key, value in weights(loaded).items():
        assert torch.equal(value, expected[key]), key
    observation = states(envs)
    assert torch.equal(logits(loaded, observation), logits(agent, observation))
    loaded.learn(24)  # and goes on
    assert any(not torch.equal(value, expected[key]) for key, value in weights(loaded).items())


@pytest.mark.parametrize("name", ["emotional-ppo", "feared-dqn"])
def test_a_loaded_agent_feels_with_the_constants_of_its_critic(
    make_envs: MakeEnvs, llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Path, name: str
) -> None:
    """They are part of what the agent was: a gain of 5 must not come back as 2."""
    critic.modulator = LogitModulator(llm.vocab_size, ModulationConfig(rule_gain=5.0))
    critic.modulator.set_category("cautious", list(range(0, llm.vocab_size, 3)))
    envs = make_envs(3)
    agent = make_agent(name, envs, seed=0)
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent(name, tmp_path / "agent.zip", envs)
    observation = states(envs)
    torch.testing.assert_close(logits(loaded, observation), logits(agent, observation))


def test_a_bias_weight_is_saved(make_envs: MakeEnvs, tmp_path: Path) -> None:
    envs = make_envs(3)
    agent = make_agent("emotional-ppo", envs, seed=0, bias_weight=2.5)
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent("emotional-ppo", tmp_path / "agent.zip", envs)
    assert loaded.policy.bias.weight == 2.5  # type: ignore[union-attr]


def test_minibatches_have_at_least_two_steps(make_envs: MakeEnvs) -> None:
    agent = make_agent("ppo", make_envs(2), n_steps=3, minibatches=50)
    assert isinstance(agent, PPO)
    assert agent.batch_size == 2
    with pytest.raises(AgentError, match="n_steps must be at least 2 where there is one row"):
        make_agent("ppo", make_envs(1), n_steps=1)


def test_an_agent_of_another_language_model_is_named(
    make_envs: MakeEnvs, tmp_path: Path, llm: FrozenLLM
) -> None:
    """Same spaces, other embeddings: it would load and write nonsense."""
    make_agent("ppo", make_envs(), **small("ppo")).save(tmp_path / "agent.zip")
    other = FrozenLLM(build_tiny_model(1), llm.tokenizer, name="other", source="a test")
    with pytest.raises(AgentError, match="learned on the LM 'tiny', but the environment has 'oth"):
        load_agent("ppo", tmp_path / "agent.zip", make_envs(llm=other))


def test_an_agent_of_a_language_model_that_is_gone_is_named(
    make_envs: MakeEnvs, tmp_path: Path, llm: FrozenLLM
) -> None:
    gone = FrozenLLM(build_tiny_model(1), llm.tokenizer, name="gone", source="a test")
    make_agent("ppo", make_envs(llm=gone), **small("ppo")).save(tmp_path / "agent.zip")
    del gone
    with pytest.raises(AgentError, match="learned on the LM 'gone', but the environment has 'tiny"):
        load_agent("ppo", tmp_path / "agent.zip", make_envs())


def test_a_file_of_somebody_else_is_named(make_envs: MakeEnvs, tmp_path: Path) -> None:
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "agent.zip")
    with pytest.raises(AgentError, match="cannot load the agent 'ppo'"):
        load_agent("ppo", tmp_path / "agent.zip", make_envs())


@pytest.mark.parametrize("name", LEARNING)
def test_a_language_model_made_by_hand_is_found(
    make_envs: MakeEnvs, tmp_path: Path, llm: FrozenLLM, name: str
) -> None:
    mine = FrozenLLM(build_tiny_model(1), llm.tokenizer, name="mine", source="a test")
    envs = make_envs(llm=mine)
    agent = make_agent(name, envs, **small(name)).learn(24)
    agent.save(tmp_path / "agent.zip")
    loaded = load_agent(name, tmp_path / "agent.zip", envs)
    observation = states(envs)
    assert torch.equal(logits(loaded, observation), logits(agent, observation))


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_a_damaged_file_is_named(make_envs: MakeEnvs, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.zip"
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"cannot load the agent 'ppo' from .*agent\.zip"):
        load_agent("ppo", path, make_envs())


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_a_truncated_file_is_named(make_envs: MakeEnvs, tmp_path: Path, name: str) -> None:
    path = tmp_path / "agent.zip"
    make_agent(name, make_envs(), **small(name)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AgentError, match=r"cannot load the agent .*agent\.zip"):
        load_agent(name, path, make_envs())


def test_a_missing_file_is_named(make_envs: MakeEnvs, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"cannot load the agent 'ppo' from .*none\.zip"):
        load_agent("ppo", tmp_path / "none.zip", make_envs())


@pytest.mark.parametrize(("saved", "loaded"), [("dqn", "ppo"), ("ppo", "feared-dqn")])
def test_a_file_of_another_algorithm_is_named(
    make_envs: MakeEnvs, tmp_path: Path, saved: str, loaded: str
) -> None:
    make_agent(saved, make_envs(), **small(saved)).save(tmp_path / "agent.zip")
    with pytest.raises(AgentError, match=f"cannot load the agent '{loaded}'"):
        load_agent(loaded, tmp_path / "agent.zip", make_envs())


@pytest.mark.parametrize("options", [{"k": 5}, {"critic": None}])
def test_a_file_for_other_spaces_is_named(
    make_envs: MakeEnvs, tmp_path: Path, options: dict[str, Any]
) -> None:
    make_agent("ppo", make_envs(), n_steps=8).save(tmp_path / "agent.zip")
    with pytest.raises(AgentError, match="same options"):
        load_agent("ppo", tmp_path / "agent.zip", make_envs(**options))


@pytest.mark.parametrize("name", ["frozen", "random", "emotional-frozen"])
def test_what_does_not_learn_cannot_be_loaded(
    make_envs: MakeEnvs, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "agent.zip"
    make_agent("dqn", make_envs(), **small("dqn")).save(path)
    with pytest.raises(AgentError, match=name):
        load_agent(name, path, make_envs())
