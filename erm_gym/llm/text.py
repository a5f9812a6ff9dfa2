"""Text of tokens, one by one."""

from __future__ import annotations

from collections.abc import Sequence

from erm_gym.llm.frozen import FrozenLLM

UNFINISHED = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""


def token_texts(tokens: Sequence[int], reply: str, llm: FrozenLLM) -> list[str]:
    """What each token adds to the text; joined, they are the reply.

    A token that holds only some bytes of a character adds nothing: the one that completes it does.

    Args:
        tokens: Token ids of the reply.
        reply: Their text.
        llm: The LM whose tokens they are.
    """
    texts, shown = [], ""
    for end in range(1, len(tokens)):
        text = llm.decode(tokens[:end])
        whole = text.startswith(shown) and reply.startswith(text) and not text.endswith(UNFINISHED)
        texts.append(text[len(shown) :] if whole else "")
        shown = text if whole else shown
    return [*texts, reply[len(shown) :]] if tokens else []
