"""Texts with the emotions of each token: written by a frozen language model, or read by it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import GenerationConfig

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.signals import EmotionalSignals
from erm_gym.llm import FrozenLLM, LLMError, read_layers
from erm_gym.llm.frozen import Messages
from erm_gym.llm.text import token_texts

if TYPE_CHECKING:
    from erm_gym.emotion.critic import EmotionalCritic


@dataclass(frozen=True, kw_only=True, eq=False)
class EmotionalText:
    """A text, and what a critic felt at each of its tokens."""

    text: str
    """The text, special tokens left out."""
    tokens: list[int]
    """Its T token ids; the last one of a reply that ended is the end of turn."""
    pieces: list[str]
    """What each token adds to the text; joined, they are the text."""
    signals: EmotionalSignals
    """`[T, 6]` float32 on the CPU. Of a text that was written: as it was when the token was chosen,
    so before it was read; of one that was read: after the token was read."""
    fear: Tensor
    """`[T, 2]` float32 on the CPU, phasic and tonic; the same."""

    @property
    def total_fear(self) -> list[float]:
        """The larger of phasic and tonic fear at each token, in [0, 1]."""
        total: list[float] = self.fear.amax(-1).tolist()
        return total


def generate_emotional(
    llm: FrozenLLM,
    critic: EmotionalCritic,
    prompts: str | Sequence[Messages],
    *,
    max_new_tokens: int = 60,
    generation: GenerationConfig | None = None,
    seed: int = 0,
    strength: float = 1.0,
    temperature: bool = False,
    tonic_fear: float = 0.0,
) -> list[EmotionalText]:
    """Write replies with `model.generate`, biased by what a critic feels.

    Args:
        llm: The frozen LM.
        critic: A critic that was made for it, on its device.
        prompts: What the user says, or several such, each a text or `{"role", "content"}` messages.
        max_new_tokens: Longest reply in tokens, at least 1.
        generation: How tokens are chosen: `GenerationConfig(do_sample=True, top_p=0.9)` samples;
            None takes the likeliest.
        seed: Seed of the sampling.
        strength: Factor of the bias; 0 gives what the LM writes by itself.
        temperature: Whether the critic's temperature acts, too.
        tonic_fear: Tonic fear in [0, 1] that every reply begins with.

    Returns:
        One reply per prompt.

    Raises:
        LLMError: A prompt is empty, or leaves too little room for the reply.
        CriticError: The critic was made for another model.
        ValueError: An option is out of range, or asks for several replies per prompt.

    Source: emotional reward model (the project's seed document), EmotionalRewardLLM.generate.
    """
    require_range("generate_emotional", "max_new_tokens", max_new_tokens, 1, math.inf)
    asked: Sequence[Messages] = [prompts] if isinstance(prompts, str) else prompts
    encoded = [llm.encode_prompt(prompt) for prompt in asked]
    width = max(map(len, encoded), default=0)
    if not encoded:
        return []
    if width + max_new_tokens > llm.context_length:
        raise LLMError(
            f"the longest prompt has {width} tokens, which with {max_new_tokens} new ones is more "
            f"than the {llm.context_length} that {llm.name} reads; shorten it, or lower "
            "max_new_tokens"
        )
    ids = torch.zeros(len(encoded), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, own in enumerate(encoded):
        ids[row, width - len(own) :] = torch.tensor(own)
        mask[row, width - len(own) :] = 1
    processor = critic.logits_processor(
        llm, strength=strength, temperature=temperature, tonic_fear=tonic_fear
    )
    devices = [llm.device] if llm.device.type == "cuda" else []
    with processor, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        sequences = llm.model.generate(
            input_ids=ids.to(llm.device),
            attention_mask=mask.to(llm.device),
            generation_config=_generation_config(generation, llm, max_new_tokens),
            logits_processor=[processor],
        )
    signals = torch.stack([each.tensor for each in processor.signals], 1).float().cpu()  # [B, T, 6]
    fear = torch.stack(processor.fear, 1).float().cpu()  # [B, T, 2]
    replies = []
    for row, tokens in enumerate(sequences[:, width:].tolist()):
        ends = (number for number, token in enumerate(tokens, 1) if token in llm.end_of_turn)
        own = tokens[: next(ends, len(tokens))]
        text = llm.decode(own)
        replies.append(
            EmotionalText(
                text=text,
                tokens=own,
                pieces=token_texts(own, text, llm),
                signals=EmotionalSignals(signals[row, : len(own)]),
                fear=fear[row, : len(own)],
            )
        )
    return replies


@torch.no_grad()
def read_emotional(llm: FrozenLLM, critic: EmotionalCritic, text: str) -> EmotionalText:
    """Return what a critic feels while it reads what a user says, token by token.

    The text is read as a prompt under the LM's chat template. The tokens with which the template
    begins are left out; those with which it ends a prompt stand behind the text, with nothing in
    `pieces`: what is felt at the last of them is what a reply begins with.

    In the environments, and in `generate`, the FearModule takes a prompt for one position, the mean
    of all; here it reads it one by one, so that fear at the end leans to how the text ends.

    Args:
        llm: The frozen LM.
        critic: A critic that was made for it, on its device.
        text: What is read; spaces around it are left out.

    Raises:
        LLMError: The text is empty, or longer than the LM's context.
    """
    text = text.strip()
    tokens = llm.encode_prompt(text)
    start = len(llm.template) if tuple(tokens[: len(llm.template)]) == llm.template else 0
    [hidden] = read_layers(llm, [tokens], critic.config.layers, shared=tokens[:start])  # [T, L, d]
    state, felt, fears = critic.initial_state(1), [], []
    for position in hidden:
        signals, fear, state = critic.observe(position[None, None], state)
        felt.append(signals.tensor[0])
        fears.append(fear[0])
    return EmotionalText(
        text=text,
        tokens=tokens[start:],
        pieces=token_texts(tokens[start:], text, llm),
        signals=EmotionalSignals(torch.stack(felt).float().cpu()),
        fear=torch.stack(fears).float().cpu(),
    )


def _generation_config(
    given: GenerationConfig | None, llm: FrozenLLM, max_new_tokens: int
) -> GenerationConfig:
    config = GenerationConfig(do_sample=False) if given is None else copy.deepcopy(given)
    for name in ("num_beams", "num_return_sequences"):
        if (getattr(config, name) or 1) > 1:
            raise ValueError(
                f"generate_emotional writes one reply per prompt, and GenerationConfig.{name} is "
                f"{getattr(config, name)}; leave it out, or use critic.logits_processor(llm)."
            )
    ends = sorted(llm.end_of_turn)
    config.update(
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
        return_dict_in_generate=False,
    )
    return config
