"""Agents by name."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file

from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.hyperparameters import AgentError, DQNConfig, PPOConfig, checked_config
from erm_gym.agents.language_prior import LanguagePrior
from erm_gym.agents.prior_dqn import PriorDQN, PriorDQNPolicy, PriorQNetwork
from erm_gym.agents.prior_policy import PriorPolicy
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.agents.vec_env import GymnasiumVecEnv
from erm_gym.emotion import EmotionalCritic
from erm_gym.llm import FrozenLLM
from erm_gym.llm.suggestion import suggest

Agent = BaseAlgorithm | SamplingAgent


LOAD_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    EOFError,
    AttributeError,
    TypeError,
    AssertionError,
    zipfile.BadZipFile,
)
"""What unpacking a damaged or foreign archive raises, all the way down to torch."""


@dataclass(frozen=True)
class AgentSpec:
    """How a named agent is made."""

    build: Callable[[AgentSpec, VectorEnv, int, dict[str, Any]], Agent]
    """Makes it from the spec, the environment, the seed and the hyperparameters."""
    bias_weight: float = 0.0
    """Weight of the emotional bias."""
    config: PPOConfig | DQNConfig | None = None
    """Hyperparameters; None for an agent that does not learn."""

    @property
    def learns(self) -> bool:
        """Whether training changes it."""
        return self.config is not None

    @property
    def emotional(self) -> bool:
        """Whether the critic biases its choices."""
        return self.bias_weight > 0.0


def agent_names() -> list[str]:
    """Names that `make_agent` knows."""
    return list(AGENTS)


def agent_spec(name: str) -> AgentSpec:
    """What stands behind a name.

    Raises:
        AgentError: If the name is unknown; it suggests the nearest.
    """
    if name not in AGENTS:
        raise AgentError(f"unknown agent {name!r}; {suggest(name, agent_names())}")
    return AGENTS[name]


def make_agent(name: str, envs: VectorEnv, seed: int = 0, **hyperparameters: Any) -> Agent:
    """An agent for a vector environment.

    Args:
        name: One of `agent_names()`.
        envs: A text environment, as `gym.make_vec` makes it.
        seed: Seed of its weights, its choices, and of the environment while it learns.
        **hyperparameters: Fields of `PPOConfig` or `DQNConfig`, or `bias_weight`.

    Returns:
        The agent; `learn`, `predict` and `save` are Stable-Baselines3's.

    Raises:
        AgentError: If the name or a hyperparameter is unknown, an emotional agent meets an
            environment without a critic, or a Q-learner one without candidates.
    """
    spec = agent_spec(name)
    if "bias_weight" in hyperparameters:
        weight = float(hyperparameters.pop("bias_weight"))
        if not 0.0 <= weight < math.inf:
            raise AgentError(f"bias_weight must be at least 0 and finite, got {weight}")
        spec = replace(spec, bias_weight=weight)
    if spec.emotional and find_critic(envs) is None:
        raise AgentError(
            f"the agent {name!r} acts on emotions, but the environment has no critic; make it "
            "with critic='default'"
        )
    return spec.build(spec, envs, seed, hyperparameters)


def load_agent(name: str, path: str | Path, envs: VectorEnv) -> Agent:
    """A learning agent as `save` left it.

    Args:
        name: The name it was made by.
        path: The file.
        envs: An environment with the same spaces.

    Raises:
        AgentError: If the file is missing, damaged, or made for other spaces or another LM.
    """
    spec = agent_spec(name)
    if not spec.learns:
        raise AgentError(f"the agent {name!r} does not learn and is never saved; use make_agent")
    algorithm = PPO if isinstance(spec.config, PPOConfig) else PriorDQN
    present = _llm(envs).name
    try:
        data, _, _ = load_from_zip_file(path, device="cpu")
        if not data:
            raise ValueError("it is truncated")
        learned_on = data["policy_kwargs"]["llm"]
        if learned_on == present:
            agent: BaseAlgorithm = algorithm.load(
                path, env=GymnasiumVecEnv(envs), device=_device(envs)
            )
            return agent
    except LOAD_ERRORS as error:
        raise AgentError(
            f"cannot load the agent {name!r} from {path}: {error}. The file must be one that the "
            "same agent saved in an environment with the same options"
        ) from error
    raise AgentError(
        f"the agent in {path} learned on the LM {learned_on!r}, but the environment has "
        f"{present!r}; make the environment with llm={learned_on!r}"
    )


def find_critic(envs: VectorEnv) -> EmotionalCritic | None:
    """The critic that watches an environment, if one does."""
    layer: VectorEnv = envs
    while True:
        critic = getattr(layer, "critic", None)
        if isinstance(critic, EmotionalCritic):
            return critic
        if not isinstance(layer, VectorWrapper):
            return None
        layer = layer.env


def _build_ppo(spec: AgentSpec, envs: VectorEnv, seed: int, changes: dict[str, Any]) -> Agent:
    assert isinstance(spec.config, PPOConfig)
    config = checked_config(spec.config, changes)
    _prior(envs)
    batch = config.n_steps * envs.num_envs
    if batch < 2:
        raise AgentError("n_steps must be at least 2 where there is one row only, got 1")
    agent = PPO(
        PriorPolicy,
        GymnasiumVecEnv(envs),
        n_steps=config.n_steps,
        batch_size=max(2, batch // config.minibatches),
        n_epochs=config.n_epochs,
        learning_rate=config.learning_rate,
        clip_range=config.clip_range,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        ent_coef=config.kl_weight,
        policy_kwargs={
            **_policy_kwargs(spec, config, envs),
            "prior_temperature": _prior_temperature(envs),
        },
        seed=seed,
        device=_device(envs),
    )
    assert isinstance(agent.policy, PriorPolicy)
    _adopt(agent.policy.bias, envs)
    return agent


def _build_dqn(spec: AgentSpec, envs: VectorEnv, seed: int, changes: dict[str, Any]) -> Agent:
    assert isinstance(spec.config, DQNConfig)
    if _prior(envs).whole:
        raise AgentError(
            "a Q-learner chooses among a few candidates, but the actions of this environment are "
            "all tokens; use ErmGym/CandidateGeneration-v0, or the agent 'ppo'"
        )
    config = checked_config(spec.config, changes)
    agent = PriorDQN(
        PriorDQNPolicy,
        GymnasiumVecEnv(envs),
        learning_rate=config.learning_rate,
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        train_freq=config.train_freq,
        gradient_steps=config.gradient_steps,
        batch_size=config.batch_size,
        gamma=config.gamma,
        target_update_interval=config.target_update_interval,
        exploration_fraction=config.exploration_fraction,
        exploration_final_eps=config.exploration_final_eps,
        policy_kwargs={
            **_policy_kwargs(spec, config, envs),
            "prior_scale": config.prior_scale,
        },
        seed=seed,
        device=_device(envs),
    )
    for network in (agent.q_net, agent.q_net_target):
        assert isinstance(network, PriorQNetwork)
        _adopt(network.bias, envs)
    return agent


def _build_sampling(spec: AgentSpec, envs: VectorEnv, seed: int, changes: dict[str, Any]) -> Agent:
    if changes:
        raise AgentError(f"an agent that does not learn has no {next(iter(changes))!r}")
    bias = None
    if spec.emotional:
        bias = EmotionalBias(_llm(envs).vocab_size, spec.bias_weight)
        _adopt(bias, envs)
    return SamplingAgent(prior=_prior(envs), uniform=False, seed=seed, bias=bias)


def _build_random(spec: AgentSpec, envs: VectorEnv, seed: int, changes: dict[str, Any]) -> Agent:
    if spec.emotional:
        raise AgentError("the random agent has no scores that a bias_weight could act on")
    if changes:
        raise AgentError(f"an agent that does not learn has no {next(iter(changes))!r}")
    return SamplingAgent(prior=_prior(envs), uniform=True, seed=seed)


def _policy_kwargs(
    spec: AgentSpec, config: PPOConfig | DQNConfig, envs: VectorEnv
) -> dict[str, Any]:
    critic = find_critic(envs)
    return {
        "llm": _llm(envs).name,
        "width": config.width,
        "rank": config.rank,
        "bias_weight": spec.bias_weight,
        "modulation": None if critic is None else asdict(critic.modulator.config),
    }


def _llm(envs: VectorEnv) -> FrozenLLM:
    llm = getattr(envs.unwrapped, "llm", None)
    if not isinstance(llm, FrozenLLM):
        raise AgentError("these agents choose a frozen LM's tokens, but the environment has none")
    return llm


def _prior(envs: VectorEnv) -> LanguagePrior:
    llm = _llm(envs)
    space = envs.single_observation_space
    if not isinstance(space, spaces.Dict):
        raise AgentError(
            f"these agents read a Dict observation, but that of this environment is {space}; leave "
            "out the wrapper that changes it"
        )
    if not isinstance(envs.single_action_space, spaces.Discrete):
        raise AgentError(
            "these agents choose tokens, but the actions of this environment are numbers; train an "
            "agent of Stable-Baselines3, such as SAC, on erm_gym.agents.GymnasiumVecEnv(envs)"
        )
    return LanguagePrior(space, llm.name, _prior_temperature(envs))


def _prior_temperature(envs: VectorEnv) -> float:
    return float(getattr(getattr(envs.unwrapped, "options", None), "prior_temperature", 1.0))


def _device(envs: VectorEnv) -> str:
    return str(_llm(envs).device)


def _adopt(bias: EmotionalBias, envs: VectorEnv) -> None:
    critic = find_critic(envs)
    if critic is not None:
        bias.adopt(critic.modulator)


AGENTS: dict[str, AgentSpec] = {
    "frozen": AgentSpec(_build_sampling),
    "random": AgentSpec(_build_random),
    "emotional-frozen": AgentSpec(_build_sampling, bias_weight=1.0),
    "ppo": AgentSpec(_build_ppo, config=PPOConfig()),
    "emotional-ppo": AgentSpec(_build_ppo, bias_weight=1.0, config=PPOConfig()),
    "dqn": AgentSpec(_build_dqn, config=DQNConfig()),
    "feared-dqn": AgentSpec(_build_dqn, bias_weight=1.0, config=DQNConfig()),
}
"""Every agent by its name."""
