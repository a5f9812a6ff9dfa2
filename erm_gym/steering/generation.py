"""Replies that a frozen LM samples while it is steered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erm_gym.llm import FrozenLLM, LLMError
from erm_gym.llm.distribution import likeliest
from erm_gym.llm.edits import Edits

POOL_SIZE = 64
"""Tokens that are sampled from: the likeliest ones."""


@dataclass(frozen=True, kw_only=True)
class SteeredReply:
    """A reply, and how probable the model itself finds it."""

    prompt: str
    """What was asked."""
    text: str
    """The reply, special tokens left out."""
    tokens: tuple[int, ...]
    """Its token ids; one that ended has the end of turn last."""
    logprobs: tuple[float, ...]
    """Of each token under the LM that is not steered, in nats."""

    @property
    def perplexity(self) -> float:
        """Of the reply under the LM that is not steered; 1 or more."""
        return float(np.exp(-np.mean(self.logprobs)))


@torch.no_grad()
def generate_steered(
    llm: FrozenLLM,
    prompts: Sequence[str],
    edits: Edits,
    *,
    max_new_tokens: int = 40,
    temperature: float = 0.7,
    seed: int = 0,
) -> list[SteeredReply]:
    """Samples a reply to each prompt; what is steered are the reply's own tokens.

    Row i draws from `seed` and i alone, so that replies under different edits are paired.

    Args:
        llm: The frozen LM.
        prompts: B texts that a user says.
        edits: What changes the hidden states `[B, 1, d]` of each new token, by layer; none for the
            LM as it is.
        max_new_tokens: Longest reply, at least 1.
        temperature: Of the sampling, above 0.
        seed: Of the sampling.

    Raises:
        LLMError: If a prompt is empty or leaves no room for the reply, or steering made the
            model's numbers overflow.
        ValueError: If an option is out of range.
    """
    if max_new_tokens < 1 or not temperature > 0.0:
        raise ValueError(
            f"max_new_tokens must be at least 1 and temperature above 0, got {max_new_tokens} and "
            f"{temperature}"
        )
    if not prompts:
        return []
    encoded = [llm.encode_prompt(prompt) for prompt in prompts]
    longest = max(map(len, encoded))
    if longest + max_new_tokens > llm.context_length:
        raise LLMError(
            f"a prompt has {longest} tokens, which with {max_new_tokens} new ones is more than the "
            f"{llm.context_length} that {llm.name} reads; shorten it, or lower max_new_tokens"
        )
    dice = np.stack(
        [np.random.default_rng([seed, row]).random(max_new_tokens) for row in range(len(prompts))]
    )
    slots = llm.slots(len(prompts))
    logits = slots.prefill(range(len(prompts)), encoded).logits
    tokens: list[list[int]] = [[] for _ in prompts]
    going = np.ones(len(prompts), bool)
    for place in range(max_new_tokens):
        chosen = _sample(logits, temperature, dice[:, place])
        for row in np.flatnonzero(going):
            tokens[row].append(int(chosen[row]))
        going &= ~np.isin(chosen, list(llm.end_of_turn))
        if not going.any() or place + 1 == max_new_tokens:
            break
        logits = slots.decode(torch.from_numpy(chosen), torch.from_numpy(going), edits).logits
        if not bool(torch.isfinite(logits[torch.from_numpy(going)]).all()):
            raise LLMError(
                f"steering made the numbers of {llm.name} overflow; lower its strength, or load "
                "the model with dtype='float32'"
            )
    logprobs = _own_logprobs(llm, encoded, tokens)
    return [
        SteeredReply(prompt=prompt, text=llm.decode(own), tokens=tuple(own), logprobs=tuple(each))
        for prompt, own, each in zip(prompts, tokens, logprobs, strict=True)
    ]


def _sample(logits: Tensor, temperature: float, dice: np.ndarray) -> np.ndarray:
    """A token of each row `[B]`, at a place `[B]` of the unit interval."""
    top, candidates = likeliest(logits, min(POOL_SIZE, logits.shape[-1]))  # [B, K]
    below = (top.float() / temperature).softmax(dim=-1).cumsum(dim=-1)
    draws = torch.from_numpy(dice).to(below)[:, None]
    rank = (below <= draws).sum(dim=-1, keepdim=True).clamp(max=below.shape[1] - 1)
    sampled: np.ndarray = candidates.gather(1, rank)[:, 0].cpu().numpy()
    return sampled


def _own_logprobs(
    llm: FrozenLLM, prompts: Sequence[list[int]], replies: Sequence[list[int]]
) -> list[list[float]]:
    """Log-probability of each token of the replies under the LM that is not steered."""
    slots = llm.slots(len(prompts))
    logits = slots.prefill(range(len(prompts)), prompts).logits
    found: list[list[float]] = [[] for _ in prompts]
    for place in range(max(map(len, replies))):
        here = [row for row, own in enumerate(replies) if place < len(own)]
        logprobs = logits.float().log_softmax(dim=-1)
        for row in here:
            found[row].append(float(logprobs[row, replies[row][place]]))
        active = torch.tensor([place + 1 < len(own) for own in replies])
        if not bool(active.any()):
            break
        ids = [own[place] if place < len(own) else 0 for own in replies]
        logits = slots.decode(torch.tensor(ids), active).logits
    return found
