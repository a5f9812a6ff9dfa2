"""What the frozen LM thinks of every action: where an agent's policy starts from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from erm_gym.llm import find_llm

MASKED = -1e9
"""Score of an action that is not allowed: finite, so that a product with probability 0 is 0."""


def mask_actions(scores: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
    """Scores `[B, A]` in which the actions that `action_mask` forbids are hopeless."""
    mask = observation.get("action_mask")
    return scores if mask is None else scores.masked_fill(mask == 0, MASKED)


class LanguagePrior(nn.Module):
    """Log-probabilities of the actions under the frozen LM at the prior temperature.

    Where an environment offers candidates they are in the observation. Where an action is any token
    of the vocabulary they are made from `last_hidden` by the LM's own frozen head.

    Attributes:
        whole: Whether actions are all tokens of the vocabulary.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, observation_space: spaces.Dict, llm: str, temperature: float) -> None:
        """Reads the head of the LM, if it is needed; it is shared, neither copied nor saved.

        Args:
            observation_space: The space of one environment, with `logprobs` or `last_hidden`.
            llm: Name of the frozen LM.
            temperature: The prior temperature of the environment.
        """
        super().__init__()
        self.whole = "logprobs" not in observation_space.spaces
        self.temperature = temperature
        if self.whole:
            head = find_llm(llm).model.get_output_embeddings()
            self.register_buffer("weight", head.weight, persistent=False)
            self.register_buffer("bias", getattr(head, "bias", None), persistent=False)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities `[B, A]` float32 of a batched observation; hopeless where masked."""
        if not self.whole:
            return mask_actions(observation["logprobs"].float(), observation)
        state = observation["last_hidden"].to(self.weight)  # its type, and its device
        with torch.no_grad():
            logits = F.linear(state, self.weight, self.bias).float()
            return (logits / self.temperature).log_softmax(dim=-1)
