"""What the FearModule can learn from labelled texts: who is afraid, and who tells somebody off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import has_any
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.llm import FrozenLLM

FEAR_LABELS = ("fear", "nervousness")
"""Texts with one of them tell of danger."""
REPROACH_LABELS = ("anger", "annoyance", "disappointment", "disapproval", "disgust")
"""Texts with one of them are negative feedback in words: what they are said to did badly."""
MOST_OF_A_KIND = 1200
"""Texts that are read of each kind: afraid, reproachful, and neither, twice as many of the last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledContexts:
    """Contexts that a FearModule would have after N texts."""

    hidden: Tensor
    """`[N, d]` float32, the mean over each text, which is the context after a prompt."""
    afraid: Tensor
    """`[N]` 0 or 1: labelled with one of `FEAR_LABELS`."""
    reproach: Tensor
    """`[N]` 0 or 1: labelled with one of `REPROACH_LABELS`."""


def labelled_contexts(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    data: LabelledTexts,
    *,
    cache: Path,
    seed: int,
    progress: Progress = no_progress,
) -> LabelledContexts:
    """Read a balanced part of labelled texts at the FearModule's layer.

    Args:
        critic: Its configuration names the layer.
        llm: The language model.
        data: Texts with 28 labels.
        cache: Folder of the hidden states.
        seed: Decides which texts are read where there are too many.
        progress: Told how far it is.
    """
    rng = np.random.default_rng(seed)
    afraid = has_any(data.values, FEAR_LABELS)
    reproach = has_any(data.values, REPROACH_LABELS)
    chosen = []
    for kind, most in ((afraid, 1), (reproach & ~afraid, 1), (~afraid & ~reproach, 2)):
        shuffled = rng.permutation(kind.nonzero().flatten().numpy())
        chosen.append(shuffled[: most * MOST_OF_A_KIND])
    rows = torch.from_numpy(np.sort(np.concatenate(chosen)))
    part = data.select(rows)
    states = StateCache(
        cache,
        llm,
        part.texts,
        (critic.config.layer,),
        progress=lambda done, total: progress("reading for the FearModule", done, total, "texts"),
    )
    return LabelledContexts(
        hidden=states.means()[:, 0], afraid=afraid[rows].float(), reproach=reproach[rows].float()
    )
