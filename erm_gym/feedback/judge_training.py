"""Trains the stance judge on labelled replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from erm_gym.feedback.judge import CAREFUL, STANCES, StanceJudge, pool_reply
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

SHORTEST = 8
"""Fewest tokens to which a reply is cut for training: a judge must read unfinished text."""
EPOCHS = 40
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05


@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """How well a judge reads replies that it was not trained on."""

    accuracy: dict[str, float]
    """Share of replies read as labelled, per split, in [0, 1]."""
    confusion: list[list[int]]
    """Test replies: rows are labels, columns what the judge read, in the order of `STANCES`."""
    careful_recall: float
    """Share of test replies labelled hedge or refuse that are read as one of the two."""
    careful_false_alarms: float
    """Share of the other test replies that are read as hedge or refuse."""
    replies: dict[str, int]
    """Number of labelled replies per split."""


def train_judge(
    llm: FrozenLLM,
    rows: Sequence[dict[str, str]],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StanceJudge, JudgeReport]:
    """Trains a judge on the frozen LM's hidden states.

    Every training reply is read whole and cut to two random lengths, so that the judge can tell
    the stance of a reply that the token limit cut. The epoch with the lowest validation loss is
    kept.

    Args:
        llm: The frozen LM.
        rows: Labelled replies as `read_labelled_replies` gives them; all three splits.
        seed: Seed of the weights, the cuts and the batches.
        progress: Called with the number of texts that are read, and how many there are.

    Returns:
        The judge in evaluation mode, and what it reads right on the held-out splits.
    """
    read = read_replies(
        llm, [row["prompt"] for row in rows], [row["reply"] for row in rows], progress
    )
    hidden = [reply for _, reply in read]
    generator = torch.Generator().manual_seed(seed)
    features: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    for split in ("train", "validation", "test"):
        chosen = [i for i, row in enumerate(rows) if row["split"] == split]
        cuts = [_cuts(len(hidden[i]), split, generator) for i in chosen]
        features[split] = torch.stack(
            [
                pool_reply(hidden[i][:cut])
                for i, own in zip(chosen, cuts, strict=True)
                for cut in own
            ]
        )
        labels[split] = torch.tensor(
            [
                STANCES.index(rows[i]["stance"])
                for i, own in zip(chosen, cuts, strict=True)
                for _ in own
            ]
        )
    judge = _fit(llm, features, labels, generator, seed)
    counts = Counter(row["split"] for row in rows)
    return judge, _report(judge, features, labels, counts)


def _cuts(length: int, split: str, generator: torch.Generator) -> list[int]:
    if split != "train" or length <= SHORTEST:
        return [length]
    drawn = torch.randint(SHORTEST, length + 1, (2,), generator=generator)
    return [length, *drawn.tolist()]


def _fit(
    llm: FrozenLLM,
    features: dict[str, Tensor],
    labels: dict[str, Tensor],
    generator: torch.Generator,
    seed: int,
) -> StanceJudge:
    counts = torch.bincount(labels["train"], minlength=len(STANCES)).float()
    weights = (counts.sum() / counts.clamp(min=1)).sqrt()
    weights /= weights.mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout and weights draw from the global generator
        judge = StanceJudge(llm.hidden_size, llm.fingerprint)
        judge.mean = features["train"].mean(dim=0)
        judge.std = features["train"].std(dim=0) + 1e-4
        best, best_loss = {k: v.clone() for k, v in judge.state_dict().items()}, float("inf")
        optimizer = torch.optim.AdamW(
            judge.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        for _ in range(EPOCHS):
            judge.train()
            order = torch.randperm(len(labels["train"]), generator=generator)
            for batch in order.split(BATCH_SIZE):
                logits = judge(features["train"][batch])
                loss = F.cross_entropy(
                    logits, labels["train"][batch], weight=weights, label_smoothing=0.05
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            judge.eval()
            with torch.no_grad():
                held_out = judge(features["validation"])
                validation = float(F.cross_entropy(held_out, labels["validation"], weight=weights))
            if validation < best_loss:
                best_loss = validation
                best = {k: v.clone() for k, v in judge.state_dict().items()}
    judge.load_state_dict(best)
    return judge.eval()


@torch.no_grad()
def _report(
    judge: StanceJudge,
    features: dict[str, Tensor],
    labels: dict[str, Tensor],
    replies: Mapping[str, int],
) -> JudgeReport:
    read = {split: judge(features[split]).argmax(dim=-1) for split in features}
    confusion = torch.zeros(len(STANCES), len(STANCES), dtype=torch.int64)
    for label, stance in zip(labels["test"], read["test"], strict=True):
        confusion[label, stance] += 1
    careful = torch.tensor([name in CAREFUL for name in STANCES])
    seen = confusion[:, careful].sum(dim=1)  # read as careful, per label
    total = confusion.sum(dim=1)
    return JudgeReport(
        accuracy={split: float((read[split] == labels[split]).float().mean()) for split in read},
        confusion=confusion.tolist(),
        careful_recall=float(seen[careful].sum() / total[careful].sum().clamp(min=1)),
        careful_false_alarms=float(seen[~careful].sum() / total[~careful].sum().clamp(min=1)),
        replies=dict(replies),
    )
