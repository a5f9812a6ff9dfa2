"""What a frozen LM's hidden states are when it reads a prompt and a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from erm_gym.llm import FrozenLLM, read_layers
from erm_gym.llm.frozen import Messages

LONGEST_REPLY = 64
"""Tokens of a reply that are read; what comes after them is not."""
TEXTS_PER_REPORT = 256


def read_replies(
    llm: FrozenLLM,
    prompts: Sequence[Messages],
    replies: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Tensor, Tensor]]:
    """Hidden states of prompts, and of replies read after them.

    Args:
        llm: The frozen LM.
        prompts: N prompts, or conversations so far as `{"role", "content"}` messages.
        replies: N replies; they may be empty.
        progress: Called with the number of texts that are read, and N.

    Returns:
        For each text `[P, d]` of the prompt's own tokens, without the chat template's before them,
        and `[T, d]` of the reply's; float32 on the CPU.
    """
    starts = [llm.encode_prompt(prompt) for prompt in prompts]
    ends = [llm.encode_text(reply)[:LONGEST_REPLY] for reply in replies]
    texts = [start + end for start, end in zip(starts, ends, strict=True)]
    read: list[tuple[Tensor, Tensor]] = []
    for first in range(0, len(texts), TEXTS_PER_REPORT):
        part = slice(first, first + TEXTS_PER_REPORT)
        states = read_layers(llm, texts[part], (llm.layer,))
        for state, start in zip(states, starts[part], strict=True):
            own = state[:, 0].float().cpu()
            read.append((own[len(llm.template) : len(start)], own[len(start) :]))
        progress(len(read), len(texts))
    return read
