"""Pairs of replies that differ in caution, from the labelled replies of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.pairs import Pair
from erm_gym.emotion.training.splits import split_rows
from erm_gym.feedback.critic_training import WRITTEN
from erm_gym.feedback.judge import CAREFUL
from erm_gym.feedback.prompts import PromptPool

DIRECT = "comply"
"""Stance of the replies that do what was asked."""
VALIDATION_SHARE = 0.2
"""Share of training pairs without a split of their own that is held out to validate."""


@dataclass(frozen=True, kw_only=True)
class PairSplits:
    """Pairs of all emotions, by what they are for."""

    train: list[Pair]
    """To learn from."""
    validation: list[Pair]
    """To decide when to stop."""
    test: list[Pair]
    """To measure."""


def gather_pairs(
    pool: PromptPool,
    replies: Sequence[Mapping[str, str]],
    *,
    own: Sequence[Pair],
    seed: int = 0,
) -> PairSplits:
    """All pairs that a modulator is trained and measured on.

    Args:
        pool: Prompts.
        replies: Labelled replies to them: the pairs of fear.
        own: Pairs of other emotions, each for training or test; some of the former validate.
        seed: Decides which pairs validate where the data do not say.

    Raises:
        DataError: If an emotion has a single pair to train on.
    """
    splits: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for pair in [*fear_pairs(pool, replies), *(pair for pair in own if pair.split != "train")]:
        splits[pair.split].append(pair)
    for emotion in dict.fromkeys(pair.emotion for pair in own):
        group = [pair for pair in own if (pair.emotion, pair.split) == (emotion, "train")]
        if len(group) == 1:
            raise DataError(
                f"there is one pair of {emotion} to train on, and one has to validate; give more"
            )
        kept, held_out = split_rows(len(group), VALIDATION_SHARE, seed)
        splits["train"] += [group[row] for row in kept]
        splits["validation"] += [group[row] for row in held_out]
    return PairSplits(**splits)


def fear_pairs(pool: PromptPool, replies: Sequence[Mapping[str, str]]) -> list[Pair]:
    """Pairs of a careful reply, the chosen one, and a direct one to the same prompt.

    Only replies written by hand: an agent's or the language model's own would teach its habits.
    Every such reply is in a pair: where a prompt has more replies of one kind, those of the other
    are used in turn.

    Args:
        pool: Prompts; replies to others are not read.
        replies: Labelled replies as `read_labelled_replies` gives them.

    Returns:
        The pairs in the order of the pool, with the split of their prompt. A prompt without replies
        of both kinds has none.
    """
    careful: dict[str, list[str]] = {}
    direct: dict[str, list[str]] = {}
    for row in replies:
        if row["source"] == WRITTEN and row["stance"] in (*CAREFUL, DIRECT):
            kind = careful if row["stance"] in CAREFUL else direct
            kind.setdefault(row["prompt"], []).append(row["reply"])
    pairs = []
    for prompt in pool:
        chosen, rejected = careful.get(prompt.text, []), direct.get(prompt.text, [])
        for number in range(max(len(chosen), len(rejected)) if chosen and rejected else 0):
            pairs.append(
                Pair(
                    emotion="fear",
                    prompt=prompt.text,
                    chosen=chosen[number % len(chosen)],
                    rejected=rejected[number % len(rejected)],
                    split=prompt.split,
                )
            )
    return pairs
