"""What a reply makes one feel, as an Emotional Reward Model reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from erm_gym.emotion import AFFECT, EMOTIONS, EmotionalCritic
from erm_gym.feedback.reading import LONGEST_REPLY, TEXTS_PER_REPORT
from erm_gym.llm import FrozenLLM, read_layers
from erm_gym.llm.frozen import Messages

FELT = ("joy", "curiosity", "fear", "anger")
"""The emotions that are read."""
FEELINGS = (*FELT, "valence")
"""Order of what `read_feelings` reads."""
NEUTRAL_VALENCE = 3.0
"""The middle of EmoBank's scale of 1 to 5. Hardly a text is rated further from it than by 1."""


@torch.no_grad()
def read_feelings(
    llm: FrozenLLM,
    critic: EmotionalCritic,
    prompts: Sequence[Messages],
    replies: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """What a critic's ERM reads off replies, each read behind its prompt.

    The language model reads the prompt and the reply; the ERM begins with the reply, so that it
    reads what the reply adds, and its phasic values after the last token count.

    Args:
        llm: The frozen LM.
        critic: A critic for it, with affective ratings.
        prompts: N prompts, or conversations so far as `{"role", "content"}` messages.
        replies: N replies; an empty one is felt as nothing.
        progress: Called with the number of texts that are read, and N.

    Returns:
        `[N, 5]` float32 on the CPU in the order of `FEELINGS`: four emotions in [0, 1], and the
        valence less 3, in [-1, 1].
    """
    starts = [llm.encode_prompt(prompt) for prompt in prompts]
    ends = [llm.encode_text(reply)[:LONGEST_REPLY] for reply in replies]
    feelings = torch.zeros(len(starts), len(FEELINGS))
    for first in range(0, len(starts), TEXTS_PER_REPORT):
        rows = [
            row for row in range(first, min(first + TEXTS_PER_REPORT, len(starts))) if ends[row]
        ]
        if rows:
            feelings[rows] = _read(
                llm, critic, [starts[row] for row in rows], [ends[row] for row in rows]
            )
        progress(min(first + TEXTS_PER_REPORT, len(starts)), len(starts))
    return feelings


def _read(
    llm: FrozenLLM,
    critic: EmotionalCritic,
    starts: Sequence[Sequence[int]],
    ends: Sequence[Sequence[int]],
) -> Tensor:
    """Feelings `[n, 5]` of n replies, none empty."""
    shared = len(llm.template)
    if any(tuple(start[:shared]) != llm.template for start in starts):
        shared = 0
    texts = [[*start, *end] for start, end in zip(starts, ends, strict=True)]
    layers = critic.config.erm.layers
    states = read_layers(llm, texts, layers, shared=texts[0][:shared])  # [P + T, K, d] each
    own = [state[-len(end) :] for state, end in zip(states, ends, strict=True)]
    hidden = pad_sequence(own, batch_first=True)  # [n, T, K, d]
    lengths = torch.tensor([len(end) for end in ends], device=hidden.device)
    mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    pools = critic.erm.pools(hidden, mask=mask)
    reading = critic.erm.read_off(pools.map(lambda tensor: tensor[:, -1]))
    emotions = reading.emotions[:, [EMOTIONS.index(name) for name in FELT]]
    valence = reading.affect[:, AFFECT.index("valence"), None] - NEUTRAL_VALENCE
    return torch.cat([emotions, valence.clamp(-1.0, 1.0)], -1).float().cpu()
