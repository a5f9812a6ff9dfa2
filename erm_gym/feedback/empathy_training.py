"""Trains the empathy head: it says from one layer what the ERM says from three."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.training.datasets import LABELLED_FILE, read_goemotions
from erm_gym.emotion.training.pairs import read_preference_pairs
from erm_gym.feedback.feelings import FEELINGS, FELT, read_feelings
from erm_gym.feedback.heads import ReplyHead
from erm_gym.feedback.judge import pool_reply, read_labelled_replies
from erm_gym.feedback.prompts import load_prompts
from erm_gym.feedback.reading import read_replies
from erm_gym.feedback.users.empathy import NAME, WEIGHTS, WIDTH
from erm_gym.llm import FrozenLLM
from erm_gym.llm.frozen import Messages

PREFERENCES_FILE = "hh_harmless_a.jsonl"
OWN_REPLIES, COMMENTS = 1800, 2000
"""How many of our own replies, and of GoEmotions' comments, are read."""
HELD_OUT = {"test": 0.15, "validation": 0.15}
"""Shares of the texts that nothing is fitted to; validation says when to stop."""
EPOCHS = 60
BATCH_SIZE = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
FEWEST_TEXTS = 40


@dataclass(frozen=True, kw_only=True)
class EmpathyReport:
    """How well the head says what the ERM says, on texts that it was not trained on."""

    texts: dict[str, int]
    """Number of texts by split."""
    correlation: dict[str, float]
    """Pearson's r with the ERM's reading, by feeling and for the score of the user."""
    error: dict[str, float]
    """Mean absolute difference from the ERM's reading, the same."""
    spread: dict[str, float]
    """Mean absolute difference of the ERM's readings from their mean: what a constant would err."""


def empathy_texts(data: Path, seed: int = 0) -> list[tuple[Messages, str]]:
    """Replies to read: our own, those of hh-rlhf, and comments as if they were replies.

    Comments bring the anger, joy and fear that replies of language models lack; each stands behind
    one of our own prompts, drawn at random.

    Args:
        data: Folder with goemotions_train.tsv and hh_harmless_a.jsonl.
        seed: Seed of the draws.

    Returns:
        Pairs of what was said before, and a reply.

    Raises:
        DataError: If a file is missing or malformed.
    """
    rng = np.random.default_rng(seed)
    own = [(row["prompt"], row["reply"]) for row in read_labelled_replies()]
    comments = read_goemotions(data / LABELLED_FILE).texts
    prompts = [prompt.text for prompt in load_prompts("default")]
    texts: list[tuple[Messages, str]] = [
        own[row] for row in rng.permutation(len(own))[:OWN_REPLIES]
    ]
    texts += [
        (prompts[int(rng.integers(len(prompts)))], comments[row])
        for row in rng.permutation(len(comments))[:COMMENTS]
    ]
    for pair in read_preference_pairs(data / PREFERENCES_FILE).pairs:
        texts += [(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)]
    return texts


def train_empathy(
    llm: FrozenLLM,
    critic: EmotionalCritic,
    texts: Sequence[tuple[Messages, str]],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ReplyHead, EmpathyReport]:
    """Trains a head to say what a critic's ERM says.

    Args:
        llm: The frozen LM.
        critic: A trained critic for it, with affective ratings.
        texts: What was said before, and a reply; at least 40.
        seed: Seed of the weights, the split and the batches.
        progress: Called with the number of texts that are read, and how many there are; each is
            read twice.

    Returns:
        The head in evaluation mode, and how well it does on the texts that were held out.
    """
    prompts, replies = [prompt for prompt, _ in texts], [reply for _, reply in texts]
    total = 2 * len(texts)
    feelings = read_feelings(llm, critic, prompts, replies, lambda done, _: progress(done, total))
    read = read_replies(llm, prompts, replies, lambda done, _: progress(len(texts) + done, total))
    features = torch.stack([pool_reply(reply) for _, reply in read])
    groups = np.unique([repr(prompt) for prompt in prompts], return_inverse=True)[1]
    return fit_empathy(llm, features, feelings, groups, seed=seed)


def fit_empathy(
    llm: FrozenLLM, features: Tensor, feelings: Tensor, groups: np.ndarray, *, seed: int = 0
) -> tuple[ReplyHead, EmpathyReport]:
    """Fits the head once the texts are read; see `train_empathy`.

    Cross-entropy with the ERM's probabilities for emotions and the squared error for valence; the
    epoch with the lowest loss on the validation texts is kept.

    Args:
        llm: The frozen LM.
        features: `[N, 2 d]` float32.
        feelings: `[N, 5]` float32 in the order of `FEELINGS`.
        groups: `[N]` int; texts of one group, that is behind the same prompt, stay together.
        seed: Seed of the weights, the split and the batches.

    Raises:
        ValueError: If there are too few texts.
    """
    if len(features) < FEWEST_TEXTS:
        raise ValueError(f"{len(features)} texts are too few; give at least {FEWEST_TEXTS}")
    generator = torch.Generator().manual_seed(seed)
    rows = _split(groups, seed)
    given = {split: (features[own], feelings[own]) for split, own in rows.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout and weights draw from the global generator
        head = ReplyHead(NAME, FEELINGS, llm, width=WIDTH)
        head.mean, head.std = given["train"][0].mean(0), given["train"][0].std(0) + 1e-4
        best, lowest = {k: v.clone() for k, v in head.state_dict().items()}, float("inf")
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        for _ in range(EPOCHS):
            head.train()
            for batch in torch.randperm(len(rows["train"]), generator=generator).split(BATCH_SIZE):
                optimizer.zero_grad()
                _loss(head(given["train"][0][batch]), given["train"][1][batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            head.eval()
            with torch.no_grad():
                loss = float(_loss(head(given["validation"][0]), given["validation"][1]))
            if loss < lowest:
                lowest, best = loss, {k: v.clone() for k, v in head.state_dict().items()}
    head.load_state_dict(best)
    head.eval()
    return head, _report(head, given)


def _split(groups: np.ndarray, seed: int) -> dict[str, Tensor]:
    """Rows of each split; groups stay whole."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    place = np.argsort(order)[groups] / len(order)  # [N] in [0, 1)
    edge = HELD_OUT["test"] + HELD_OUT["validation"]
    where = {
        "test": place < HELD_OUT["test"],
        "validation": (place >= HELD_OUT["test"]) & (place < edge),
        "train": place >= edge,
    }
    return {split: torch.from_numpy(np.flatnonzero(mask)) for split, mask in where.items()}


def _loss(outputs: Tensor, feelings: Tensor) -> Tensor:
    emotions, valence = len(FELT), FEELINGS.index("valence")
    return F.binary_cross_entropy_with_logits(
        outputs[:, :emotions], feelings[:, :emotions]
    ) + F.mse_loss(outputs[:, valence], feelings[:, valence])


@torch.no_grad()
def _report(head: ReplyHead, given: dict[str, tuple[Tensor, Tensor]]) -> EmpathyReport:
    features, truth = given["test"]
    outputs = head(features)
    read = torch.cat([outputs[:, : len(FELT)].sigmoid(), outputs[:, len(FELT) :].clamp(-1, 1)], -1)
    weights = torch.tensor([WEIGHTS[name] for name in FEELINGS])
    columns = {name: (read[:, i], truth[:, i]) for i, name in enumerate(FEELINGS)}
    columns["score"] = (read @ weights, truth @ weights)
    return EmpathyReport(
        texts={split: len(own) for split, (own, _) in given.items()},
        correlation={
            name: float(torch.corrcoef(torch.stack(both))[0, 1]) for name, both in columns.items()
        },
        error={name: float((a - b).abs().mean()) for name, (a, b) in columns.items()},
        spread={name: float((b - b.mean()).abs().mean()) for name, (_, b) in columns.items()},
    )
