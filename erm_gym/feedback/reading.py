"""What a frozen LM's hidden states are when it reads a prompt and a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from erm_gym.llm import FrozenLLM, read_layers
from erm_gym.llm.frozen import Messages

LONGEST_REPLY = 64
"""Tokens of a reply that are read by default; what comes after them is not."""
TEXTS_PER_REPORT = 256


def read_replies(
    llm: FrozenLLM,
    prompts: Sequence[Messages],
    replies: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    longest: int = LONGEST_REPLY,
    layers: Sequence[int] | None = None,
    template_once: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """Hidden states of prompts, and of replies read after them.

    Args:
        llm: The frozen LM.
        prompts: N prompts, or conversations so far as `{"role", "content"}` messages.
        replies: N replies; they may be empty.
        progress: Called with the number of texts that are read, and N.
        longest: How many tokens of each reply are read.
        layers: Numbers of K hidden layers; None reads the layer `llm.layer` alone.
        template_once: Read what the chat template puts before the prompts once for all: the same up
            to rounding, and up to twice as fast for short texts. Where a prompt does not begin with
            it, all are read whole.

    Returns:
        For each text `[P, d]` of the prompt's own tokens, without the chat template's before them,
        and `[T, d]` of the reply's; with `layers` `[P, K, d]` and `[T, K, d]`. Float32 on the CPU.
    """
    starts = [llm.encode_prompt(prompt) for prompt in prompts]
    ends = [llm.encode_text(reply)[:longest] for reply in replies]
    texts = [start + end for start, end in zip(starts, ends, strict=True)]
    template = llm.template
    once = template_once and all(tuple(start[: len(template)]) == template for start in starts)
    shared = template if once else ()
    read: list[tuple[Tensor, Tensor]] = []
    for first in range(0, len(texts), TEXTS_PER_REPORT):
        part = slice(first, first + TEXTS_PER_REPORT)
        states = read_layers(llm, texts[part], layers or (llm.layer,), shared=shared)
        for state, start in zip(states, starts[part], strict=True):
            own = state.float().cpu()  # [T, K, d], without what is shared
            own = own[:, 0] if layers is None else own
            read.append(
                (
                    own[len(template) - len(shared) :][: len(start) - len(template)],
                    own[len(start) - len(shared) :],
                )
            )
        progress(len(read), len(texts))
    return read
