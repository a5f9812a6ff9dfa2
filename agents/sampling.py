"""Agents that do not learn: the frozen LM itself, and chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.language_prior import LanguagePrior, mask_actions


class SamplingAgent:
    """Chooses candidates or tokens with the LM's probabilities, biased by emotion, or uniformly.

    It has the face of a Stable-Baselines3 algorithm, and keeps a generator of its own.

    Attributes:
        num_timesteps: Steps that it was asked to learn for; they change nothing.
    """

    def __init__(
        self,
        *,
        prior: LanguagePrior,
        uniform: bool,
        seed: int,
        bias: EmotionalBias | None = None,
    ) -> None:
        """Builds the agent.

        Args:
            prior: What the LM thinks of the actions.
            uniform: Whether all allowed candidates are equally likely, else as likely as the LM
                finds them.
            seed: Seed of its choices.
            bias: What emotion adds to the LM's log-probabilities.
        """
        self.prior = prior
        self.uniform = uniform
        self.bias = bias
        self.num_timesteps = 0
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Actions `[B]` for observations of B rows; the likeliest ones if `deterministic`."""
        tensors = {key: torch.as_tensor(value) for key, value in observation.items()}
        logits: Tensor = self.prior(tensors).cpu()
        if self.uniform:
            logits = mask_actions(torch.zeros_like(logits), tensors)
        elif self.bias is not None:
            logits = self.bias.on_logits(logits, tensors)
        if deterministic:
            return logits.argmax(dim=-1).numpy(), state
        drawn = torch.multinomial(logits.softmax(dim=-1), 1, generator=self._generator)
        return drawn.squeeze(-1).numpy(), state

    def learn(self, total_timesteps: int, **kwargs: Any) -> Self:
        """Learns nothing."""
        self.num_timesteps += total_timesteps
        return self

    def save(self, path: str | Path) -> None:
        """Has nothing to save."""
