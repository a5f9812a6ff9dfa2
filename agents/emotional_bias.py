"""The emotional bias on an agent's scores: the critic's `LogitModulator`, frozen, with a weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from erm_gym.emotion import LogitModulator, ModulationConfig


class EmotionalBias(nn.Module):
    """Adds what the critic's emotions say about each candidate.

    No gradient of an agent's loss reaches the critic's modulator: it is frozen here. (Emotional-ED
    calls this gradient blocking.) With weight 0 nothing is added at all.

    Attributes:
        weight: Factor of the bias, >= 0.
    """

    def __init__(
        self, vocab_size: int, weight: float, modulation: Mapping[str, float] | None = None
    ) -> None:
        """Builds a bias whose modulator is empty until `adopt` or a saved state fills it.

        Args:
            vocab_size: Number V of tokens.
            weight: Factor of the bias, >= 0.
            modulation: Constants of the rules, fields of `ModulationConfig`.

        Raises:
            ValueError: If the weight is negative.
        """
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"the weight of the emotional bias must be at least 0, got {weight}")
        self.weight = weight
        self.modulator = LogitModulator(
            vocab_size, ModulationConfig(**(modulation or {}))
        ).requires_grad_(False)

    def adopt(self, modulator: LogitModulator) -> None:
        """Copies a critic's modulator."""
        self.modulator.config = modulator.config
        self.modulator.load_state_dict(modulator.state_dict())

    def on_logits(self, scores: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Scores `[B, A]` plus the weighted bias: for policies, whose scores are log-odds."""
        if self.weight == 0.0:
            return scores
        return scores + self.weight * self._bias(observation)

    def on_values(self, values: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Q-values `[B, A]` plus the bias in units of their spread over the candidates.

        Q-values have the scale of the return and not of log-odds: the bias is multiplied by their
        standard deviation over the row's allowed candidates, so that the same fear moves the same
        share of choices whatever the scale of the reward.
        """
        if self.weight == 0.0:
            return values
        return values + self.weight * _spread(values, observation) * self._bias(observation)

    def _bias(self, observation: Mapping[str, Tensor]) -> Tensor:
        candidates = observation.get("candidates")  # none: every token is an action
        bias: Tensor = self.modulator(
            observation["emotion"].float(), None if candidates is None else candidates.long()
        )
        return bias


def _spread(values: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
    """Standard deviation `[B, 1]` over the allowed ones of `[B, A]` values; 0 if there is one."""
    spread = values.std(dim=-1, keepdim=True)
    mask = observation.get("action_mask")
    if mask is None:
        return spread
    allowed = mask.to(values.dtype)
    count = allowed.sum(dim=-1, keepdim=True)
    centred = (values - (values * allowed).sum(dim=-1, keepdim=True) / count) * allowed
    variance = centred.square().sum(dim=-1, keepdim=True) / (count - 1).clamp(min=1)
    # Where nothing is masked the other formula, so that a mask of ones is no mask bit for bit.
    return torch.where((mask == 1).all(dim=-1, keepdim=True), spread, variance.sqrt())
