"""What a frozen LM makes of finished replies, in the middle of a conversation or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from erm_gym.feedback.episode import Episode
from erm_gym.feedback.reading import LONGEST_REPLY, read_replies
from erm_gym.llm import FrozenLLM


def messages_before(episode: Episode) -> list[dict[str, str]]:
    """All that was said before the reply of an episode, as `{"role", "content"}` messages.

    An empty reply, or a user that says nothing, has no message: chat templates refuse empty ones.
    """
    said = [("user", episode.prompt.text)]
    for turn in episode.turns:
        said += [("assistant", turn.reply), ("user", turn.feedback.says)]
    return [{"role": role, "content": text} for role, text in said if text.strip()]


def reply_states(
    llm: FrozenLLM, episodes: Sequence[Episode], *, longest: int = LONGEST_REPLY
) -> list[Tensor]:
    """Hidden states of replies at the layer `llm.layer`.

    Those that the environment kept are used where they are of the same LM, which saves a forward;
    otherwise the conversations are read again, all of them in one batch.

    Args:
        llm: The frozen LM.
        episodes: Finished replies.
        longest: How many tokens of each reply are read.

    Returns:
        For each `[T, d]` float32 on the CPU, T at most `longest`.
    """
    kept = kept_states(llm.fingerprint, episodes, longest=longest)
    if kept is not None:
        return kept
    before = [messages_before(episode) for episode in episodes]
    replies = [episode.reply for episode in episodes]
    read = read_replies(llm, before, replies, longest=longest, template_once=True)
    return [reply for _, reply in read]


def kept_states(
    fingerprint: str, episodes: Sequence[Episode], *, longest: int = LONGEST_REPLY
) -> list[Tensor] | None:
    """The hidden states that the environment kept; None unless all are there and of one LM.

    Args:
        fingerprint: `FrozenLLM.fingerprint` of that LM.
        episodes: Finished replies.
        longest: How many tokens of each reply are wanted.

    Returns:
        As `reply_states`.
    """
    kept = [
        torch.from_numpy(np.asarray(episode.hidden))[:longest].float()
        for episode in episodes
        if episode.hidden is not None and episode.llm_fingerprint == fingerprint
    ]
    return kept if len(kept) == len(episodes) else None
