"""An actor-critic policy that starts as the frozen LM and learns a residual on its logits."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.language_prior import LanguagePrior
from erm_gym.agents.scorer import CandidateScorer, ObservationFeatures, tanh_trunk


class PriorPolicy(ActorCriticPolicy):
    """logits = log p_LM(token) + residual(observation, token) + emotional bias.

    The residual is zero at first, so that an untrained policy writes as the frozen LM does at the
    prior temperature. `evaluate_actions` gives minus the KL divergence from the LM in the place of
    the entropy (entropy relative to the prior): PPO's `ent_coef` is therefore the weight of a KL
    term that keeps the policy near the LM.

    What has progress 1 is over, so its value is zero by definition and not by learning: PPO adds
    the value of the last observation where an episode is truncated, and no state like it is ever
    acted in. Within a conversation the step that finishes a reply leads to the next turn, at
    progress 0, whose value counts; only the final observation has progress 1.

    Source: project design, section 7.
    """

    observation_space: spaces.Dict

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        llm: str,
        width: int = 128,
        rank: int = 64,
        bias_weight: float = 0.0,
        modulation: dict[str, float] | None = None,
        prior_temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Builds the policy; Stable-Baselines3 passes everything but the spaces as keywords.

        Args:
            observation_space: The space of one environment.
            action_space: `Discrete(k)` candidates, or `Discrete(V)` tokens.
            lr_schedule: Learning rate as a function of the remaining progress.
            llm: Name of the frozen LM.
            width: Tanh units of the actor and of the value function, each.
            rank: Rank of the residual's bilinear form.
            bias_weight: Weight of the emotional bias; 0 is the plain policy.
            modulation: Constants of the bias's rules, fields of `ModulationConfig`.
            prior_temperature: The environment's; used where log-probabilities are not observed.
            **kwargs: What Stable-Baselines3 adds.
        """
        self.prior_kwargs: dict[str, Any] = {
            "prior_temperature": prior_temperature,
            "llm": llm,
            "width": width,
            "rank": rank,
            "bias_weight": bias_weight,
            "modulation": modulation,
        }
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        llm, width = self.prior_kwargs["llm"], self.prior_kwargs["width"]
        space = self.observation_space
        self.prior = LanguagePrior(space, llm, self.prior_kwargs["prior_temperature"])
        self.scorer = CandidateScorer(space, llm, width=width, rank=self.prior_kwargs["rank"])
        self.value_features = ObservationFeatures(space, llm)
        self.value_trunk = tanh_trunk(self.value_features, width)
        self.value_net = nn.Linear(width, 1)
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        vocab_size = self.scorer.embeddings.shape[0]
        self.bias = EmotionalBias(
            vocab_size, self.prior_kwargs["bias_weight"], self.prior_kwargs["modulation"]
        )
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        self.optimizer = self.optimizer_class(
            trained,
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _logits(self, obs: dict[str, Tensor], prior: Tensor) -> Tensor:
        return self.bias.on_logits(prior + self.scorer(obs), obs)

    def _values(self, obs: dict[str, Tensor]) -> Tensor:
        values: Tensor = self.value_net(self.value_trunk(self.value_features(obs)))
        return torch.where(obs["progress"] >= 1.0, torch.zeros_like(values), values)

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions `[B]`, values `[B, 1]` and log-probabilities `[B]`."""
        assert isinstance(obs, dict)
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self._values(obs), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities of the actions, and minus the KL divergence from the LM."""
        assert isinstance(obs, dict)
        offered = self.prior(obs)  # [B, A]
        own = self._logits(obs, offered).log_softmax(dim=-1)
        prior = offered.log_softmax(dim=-1)
        divergence = (own.exp() * (own - prior)).sum(dim=-1)  # [B]
        chosen = own.gather(-1, actions.long().view(-1, 1)).squeeze(-1)
        return self._values(obs), chosen, -divergence

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """The distribution over candidates or tokens."""
        assert isinstance(obs, dict)
        return self.action_dist.proba_distribution(self._logits(obs, self.prior(obs)))

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values `[B, 1]`."""
        assert isinstance(obs, dict)
        return self._values(obs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.prior_kwargs}
