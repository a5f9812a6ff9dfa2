"""Deep Q-learning that starts from the frozen LM's own ranking of its candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor

from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.language_prior import mask_actions
from erm_gym.agents.scorer import CandidateScorer


class PriorQNetwork(QNetwork):
    """Q = prior_scale * (log p_LM - its maximum) + residual; acting adds the emotional bias.

    The residual is zero at first: an untrained agent chooses what the LM finds likeliest. The bias
    acts on choices alone: `forward` gives the plain values that learning bootstraps from.

    What has progress 1 is over, so its values are zero by definition, as those of `PriorPolicy`:
    learning bootstraps from a last observation at the token limit, which nothing is learned about.
    Within a conversation the next turn begins at progress 0 in the same step, and its values count.
    """

    observation_space: spaces.Dict

    def __init__(
        self,
        *args: Any,
        llm: str,
        width: int,
        rank: int,
        bias_weight: float,
        modulation: dict[str, float] | None,
        prior_scale: float,
        **kwargs: Any,
    ) -> None:
        """Builds the network; the positional arguments are Stable-Baselines3's."""
        super().__init__(*args, **kwargs)
        self.prior_scale = prior_scale
        self.scorer = CandidateScorer(self.observation_space, llm, width=width, rank=rank)
        self.bias = EmotionalBias(self.scorer.embeddings.shape[0], bias_weight, modulation)
        self.q_net = torch.nn.Sequential()  # replaced by the scorer

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Q-values `[B, k]` without the bias; masked candidates are hopeless."""
        assert isinstance(obs, dict)
        return mask_actions(self._values(obs), obs)

    def _values(self, obs: dict[str, Tensor]) -> Tensor:
        prior = obs["logprobs"].float()
        values: Tensor = self.prior_scale * (prior - prior[:, :1]) + self.scorer(obs)
        return torch.where(obs["progress"] >= 1.0, torch.zeros_like(values), values)

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        assert isinstance(observation, dict)
        values = self.bias.on_values(self._values(observation), observation)
        return mask_actions(values, observation).argmax(dim=1)


class PriorDQNPolicy(DQNPolicy):
    """Q-network and target network over the LM's candidates."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        llm: str,
        width: int = 128,
        rank: int = 64,
        bias_weight: float = 0.0,
        modulation: dict[str, float] | None = None,
        prior_scale: float = 0.1,
        **kwargs: Any,
    ) -> None:
        """Builds both networks.

        Args:
            observation_space: The space of one environment.
            action_space: `Discrete(k)`.
            lr_schedule: Learning rate as a function of the remaining progress.
            llm: Name of the frozen LM.
            width: Tanh units.
            rank: Rank of the bilinear form.
            bias_weight: Weight of the emotional bias; 0 is the plain agent.
            modulation: Constants of the bias's rules, fields of `ModulationConfig`.
            prior_scale: Return that one nat of the LM's log-probability is worth at first, > 0.
            **kwargs: What Stable-Baselines3 adds.
        """
        self.prior_kwargs: dict[str, Any] = {
            "llm": llm,
            "width": width,
            "rank": rank,
            "bias_weight": bias_weight,
            "modulation": modulation,
            "prior_scale": prior_scale,
        }
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_q_net(self) -> PriorQNetwork:
        """A Q-network of its own features."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return PriorQNetwork(**arguments, **self.prior_kwargs).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.prior_kwargs}


class PriorDQN(DQN):
    """DQN that explores by sampling from the frozen LM instead of uniformly.

    A uniformly chosen candidate breaks the sentence, and one broken word spoils the rest of a
    reply; a sample from the prior is what the frozen agent would have said. Rows explore
    independently.
    """

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Greedy actions: exploration belongs to collecting experience, not to acting."""
        return self.policy.predict(observation, state, episode_start, deterministic=True)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions while collecting: greedy, except where a row explores. Also before learning."""
        assert isinstance(self._last_obs, dict)
        greedy, _ = self.predict(self._last_obs)
        seen = {name: torch.as_tensor(value) for name, value in self._last_obs.items()}
        logprobs = mask_actions(seen["logprobs"], seen)
        sampled = torch.distributions.Categorical(logits=logprobs).sample().numpy()
        explores = torch.rand(sampled.shape).numpy() < self.exploration_rate
        actions = np.where(explores, sampled, greedy)
        return actions, actions
