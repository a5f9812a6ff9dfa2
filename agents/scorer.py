"""How an agent scores the LM's candidates: a small network over observation and embedding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import Tensor, nn

from erm_gym.llm import find_llm

GROUP_SCALES = {
    "hidden": 16.0,
    "prompt_hidden": 1.0,
    "progress": 2.0,
    "turn": 2.0,
    "emotion": 1.0,
    "fear": 12.0,
}
"""Parts of the observation that an agent reads, and about the L1 norm that each one has.

Adam moves every weight by about the same amount, so the output changes with the L1 norm of what the
weights multiply. With equal scales 576 numbers per prompt are learned by heart long before the two
numbers of fear are used, and an agent is then over-careful with prompts that it has not seen.
"""
HIDDEN_STATES = ("hidden", "prompt_hidden")
SHARES = ("progress", "turn")
INITIAL_STD = 0.3
"""Spread that each group gives to a tanh unit at first, at most."""


class ObservationFeatures(nn.Module):
    """Turns the observation into one vector in which every group has an L1 norm of its own.

    Hidden states are standardised with the frozen LM's own statistics, so that its few very large
    dimensions do not drown the others. A share x of a reply or of a conversation becomes 2 x - 1.
    The probability p of an emotion becomes max(0, 2 p - 1): what is more likely absent than present
    reads as absent. The danger net is nearly certain of every training prompt (p below 0.1 or above
    0.9) and of few new ones, so without the floor an agent is free to react to a p of 0.2, which it
    never met while it learned.

    Source: our own.
    """

    mean: Tensor
    std: Tensor
    largest_norm: Tensor  # [size], L2 norm of the group of each feature, of standard size

    def __init__(self, observation_space: spaces.Dict, llm: str) -> None:
        """Reads the statistics of the LM.

        Args:
            observation_space: The space of one environment; missing groups are left out.
            llm: Name of the frozen LM.
        """
        super().__init__()
        self.groups = [name for name in GROUP_SCALES if name in observation_space.spaces]
        sizes = [int(observation_space[name].shape[0]) for name in self.groups]  # type: ignore[index]
        self.size = sum(sizes)
        norms = [
            GROUP_SCALES[name] / size**0.5 for name, size in zip(self.groups, sizes, strict=True)
        ]
        self.register_buffer(
            "largest_norm", torch.repeat_interleave(torch.tensor(norms), torch.tensor(sizes))
        )
        mean, std = find_llm(llm).hidden_statistics
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features `[B, size]` float32 of a batched observation."""
        parts = []
        for name in self.groups:
            value = observation[name].float()
            if name in HIDDEN_STATES:
                centred = ((value - self.mean) / self.std).clamp(-10.0, 10.0)
            elif name in SHARES:
                centred = 2.0 * value - 1.0
            else:
                centred = (2.0 * value - 1.0).clamp(min=0.0)
            parts.append(centred * (GROUP_SCALES[name] / value.shape[-1]))
        return torch.cat(parts, dim=-1)


def tanh_trunk(features: ObservationFeatures, width: int) -> nn.Sequential:
    """Tanh units over the features, no group of which saturates them at first.

    Args:
        features: What the units read.
        width: Number of units.
    """
    linear = nn.Linear(features.size, width)
    with torch.no_grad():
        linear.weight.normal_(std=INITIAL_STD).div_(features.largest_norm.clamp(min=1.0))
    return nn.Sequential(linear, nn.Tanh())


class CandidateScorer(nn.Module):
    """A low-rank bilinear form of the observation and each candidate's frozen token embedding.

    score(o, c) = (U tanh(A features(o) + b)) . (V e_c), with rank r. U starts at zero, so that an
    untrained scorer gives 0 to every candidate and what it is added to stays as it was.

    Source: project design, section 7.
    """

    embeddings: Tensor

    def __init__(self, observation_space: spaces.Dict, llm: str, *, width: int, rank: int) -> None:
        """Builds the network.

        Args:
            observation_space: The space of one environment.
            llm: Name of the frozen LM; its embedding is shared, neither copied nor saved.
            width: Tanh units.
            rank: Rank of the bilinear form.
        """
        super().__init__()
        self.features = ObservationFeatures(observation_space, llm)
        self.trunk = tanh_trunk(self.features, width)
        self.to_rank = nn.Linear(width, rank)
        nn.init.zeros_(self.to_rank.weight)
        nn.init.zeros_(self.to_rank.bias)
        embeddings = find_llm(llm).token_embeddings
        self.register_buffer("embeddings", embeddings, persistent=False)
        scale = float(embeddings.float().std()) * embeddings.shape[1] ** 0.5
        self.project = nn.Linear(embeddings.shape[1], rank, bias=False)
        nn.init.normal_(self.project.weight, std=1.0 / scale)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Scores of a batched observation: `[B, k]` of its candidates, or `[B, V]` without any."""
        state = self.to_rank(self.trunk(self.features(observation)))  # [B, r]
        if "candidates" not in observation:
            direction = state @ self.project.weight  # [B, d], in the space of the embeddings
            return nn.functional.linear(
                direction.to(self.embeddings.dtype), self.embeddings
            ).float()
        candidates = observation["candidates"].long()  # [B, k]
        tokens = self.project(nn.functional.embedding(candidates, self.embeddings).float())
        return torch.einsum("br,bkr->bk", state, tokens)
