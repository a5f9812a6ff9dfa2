"""What a reply makes one feel, as an Emotional Reward Model (ERM) reads it.

A critic's ERM reads three layers of the language model; environments keep one layer of a reply. So
beside each critic there may be a short ERM: a small one that reads this one layer, trained to say
what the critic's ERM says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from erm_gym.emotion import AFFECT, EMOTIONS, EmotionalRewardModel, ERMConfig
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, load_head
from erm_gym.llm import FrozenLLM

NAME = "empathy"
FELT = ("joy", "curiosity", "fear", "anger")
"""The emotions that count."""
FEELINGS = (*FELT, "valence")
"""Order of `feelings_of`."""
NEUTRAL = 3.0
"""The middle of EmoBank's scale of 1 to 5. Hardly a text is rated further from it than by 1."""
AGAIN = (
    "its ERM must be trained (erm-gym erm train), then the short one (scripts/train_empathy.py "
    "--llm NAME --data FOLDER --out FOLDER); or use exact=True, or another user"
)
"""What to do where there are no weights."""


def short_erm(llm: FrozenLLM) -> EmotionalRewardModel:
    """An untrained ERM that reads the layer which environments keep, `llm.layer`."""
    form = ERMConfig(layers=(llm.layer,), members=1, dropout=0.2, affect=True)
    erm = EmotionalRewardModel(llm.hidden_size, form)
    with torch.no_grad():
        erm.heads.bias[len(EMOTIONS) :] = NEUTRAL
    return erm.eval()


def load_short_erm(llm: FrozenLLM, folder: Path | None = None) -> EmotionalRewardModel:
    """The trained short ERM that belongs to a frozen LM.

    Args:
        llm: The frozen LM.
        folder: Where its file is; by default what comes with the package. The tiny test model gets
            a seeded untrained one, since nothing that it writes makes one feel.

    Raises:
        UserError: If there is none for this LM, or its file is damaged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        erm = short_erm(llm)
    if llm.name != "tiny" or folder is not None:
        load_head(erm, NAME, llm, folder or SHIPPED_WEIGHTS, again=AGAIN)
    return erm


@torch.no_grad()
def read_off(erm: EmotionalRewardModel, hidden: Sequence[Tensor]) -> Tensor:
    """What an ERM reads off replies: its phasic values after the last token.

    It begins with the reply, so that it reads what the reply adds to what was said before.

    Args:
        erm: An ERM with affective ratings.
        hidden: For each of N replies `[T, K, d]` hidden states at the ERM's layers.

    Returns:
        `[N, 9]` float32 on the CPU: `EMOTIONS` in [0, 1], then `AFFECT` on the scale of 1 to 5. A
        reply without tokens has no emotions and neutral ratings.
    """
    readings = torch.zeros(len(hidden), len(EMOTIONS) + len(AFFECT))
    readings[:, len(EMOTIONS) :] = NEUTRAL
    rows = [row for row, own in enumerate(hidden) if len(own)]
    if rows:
        padded, mask = pad([hidden[row].to(erm.heads.weight.device) for row in rows])
        pools = erm.pools(padded, mask=mask)
        reading = erm.read_off(pools.map(lambda tensor: tensor[:, -1]))
        readings[rows] = torch.cat([reading.emotions, reading.affect], -1).float().cpu()
    return readings


def pad(hidden: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """States `[n, T, K, d]` of n replies, padded on the right, and where there is text `[n, T]`."""
    padded = pad_sequence(list(hidden), batch_first=True)
    lengths = torch.tensor([len(own) for own in hidden], device=padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]


def feelings_of(readings: Tensor) -> Tensor:
    """Feelings `[N, 5]` of readings `[N, 9]`: emotions in [0, 1], and valence less 3 in [-1, 1]."""
    emotions = readings[:, [EMOTIONS.index(name) for name in FELT]]
    valence = readings[:, len(EMOTIONS) + AFFECT.index("valence"), None] - NEUTRAL
    return torch.cat([emotions, valence.clamp(-1.0, 1.0)], -1)
