"""Trains the stance judge on labelled replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from erm_gym.feedback.judge import StanceJudge
from erm_gym.feedback.judge_head import LONGEST_JUDGED, StanceHead, pool_reply
from erm_gym.feedback.judge_report import JudgeReport, measure
from erm_gym.feedback.labelled_replies import STANCES
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

SHORTEST = 8
"""Fewest tokens to which a reply is cut for training: a judge must read unfinished text."""
SHORT = 32
"""One of the cuts is at most this long: so long are the replies of most environments."""
MEMBERS = 3
"""Networks that vote."""
EPOCHS = 20
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.3


@dataclass(frozen=True)
class _Examples:
    features: Tensor  # [N, FEATURES d]
    labels: Tensor  # [N]


def train_judge(
    llm: FrozenLLM,
    rows: Sequence[dict[str, str]],
    *,
    hidden: Sequence[Tensor] | None = None,
    seed: int = 0,
    members: int = MEMBERS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StanceJudge, JudgeReport]:
    """Trains a judge on the frozen LM's hidden states.

    Every training reply is read whole and cut to two random lengths, one of them short, so that
    the judge can tell the stance of a reply that the token limit cut. Of each network the epoch
    with the lowest validation loss is kept; test replies decide nothing.

    Args:
        llm: The frozen LM.
        rows: Labelled replies as `read_labelled_replies` gives them; all three splits.
        hidden: What `read_hidden` gives for these replies, if they were read before.
        seed: Seed of the weights, the cuts and the batches.
        members: Number of networks that vote.
        progress: Called with the number of texts that are read, and how many there are.

    Returns:
        The judge in evaluation mode, and what it reads right on the held-out splits.
    """
    if hidden is None:
        hidden = read_hidden(llm, rows, progress)
    generator = torch.Generator().manual_seed(seed)
    train = _examples(rows, hidden, "train", generator)
    validation = _examples(rows, hidden, "validation", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout and weights draw from the global generator
        head = StanceHead(llm.hidden_size, len(STANCES), members)
        head.mean = train.features.mean(dim=0)
        head.std = train.features.std(dim=0) + 1e-4
        train, validation = (
            _Examples((own.features - head.mean) / head.std, own.labels)
            for own in (train, validation)
        )
        for member in head.members:
            _fit(member, train, validation, generator)
    judge = StanceJudge(head, llm_fingerprint=llm.fingerprint, llm_name=llm.name, llm=llm)
    probabilities = judge.judge_hidden(hidden, [row["reply"] for row in rows])
    return judge, measure(rows, probabilities, seed=seed)


def read_hidden(
    llm: FrozenLLM,
    rows: Sequence[dict[str, str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    cache: Path | None = None,
) -> list[Tensor]:
    """Hidden states `[T, d]` of labelled replies, T at most `LONGEST_JUDGED`.

    Args:
        llm: The frozen LM.
        rows: Labelled replies.
        progress: Called with the number of texts that are read, and how many there are.
        cache: A safetensors file with what was read before. It is used if it is of this model and
            of these replies, else written anew; None keeps nothing.
    """
    texts = [[row["prompt"], row["reply"]] for row in rows]
    key = hashlib.sha256(
        json.dumps([llm.fingerprint, llm.layer, LONGEST_JUDGED, texts]).encode()
    ).hexdigest()
    if cache is not None and cache.exists():
        with safe_open(cache, framework="pt") as file:
            if (file.metadata() or {}).get("key") == key:
                lengths = file.get_tensor("lengths").tolist()
                return [own.float() for own in file.get_tensor("states").split(lengths)]
    prompts, replies = zip(*texts, strict=True)
    read = read_replies(llm, prompts, replies, progress, longest=LONGEST_JUDGED, template_once=True)
    hidden = [reply for _, reply in read]
    if cache is not None:
        lengths = torch.tensor([len(own) for own in hidden])
        states = torch.cat(hidden).to(llm.dtype)  # [sum of T, d]
        save_file({"states": states, "lengths": lengths}, cache, {"key": key})
    return hidden


def _examples(
    rows: Sequence[dict[str, str]],
    hidden: Sequence[Tensor],
    split: str,
    generator: torch.Generator | None,
) -> _Examples:
    """Features of a split's replies; each also cut to random lengths if there is a generator."""
    features, labels = [], []
    for row, states in zip(rows, hidden, strict=True):
        if row["split"] == split:
            cuts = [len(states)] if generator is None else _cuts(len(states), generator)
            features += [pool_reply(states[:cut]) for cut in cuts]
            labels += [STANCES.index(row["stance"])] * len(cuts)
    return _Examples(torch.stack(features), torch.tensor(labels))


def _cuts(length: int, generator: torch.Generator) -> list[int]:
    """Lengths at which a training reply is read."""
    own = [length]
    if length > SHORTEST:
        for end in (length, min(length, SHORT)):
            own.append(int(torch.randint(SHORTEST, end + 1, (), generator=generator)))
    return own


def _fit(
    member: torch.nn.Module, train: _Examples, validation: _Examples, generator: torch.Generator
) -> None:
    counts = torch.bincount(train.labels, minlength=len(STANCES)).float()
    weights = (counts.sum() / counts.clamp(min=1)).sqrt()
    weights /= weights.mean()
    best, best_loss = {k: v.clone() for k, v in member.state_dict().items()}, float("inf")
    optimizer = torch.optim.AdamW(member.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        member.train()
        for batch in torch.randperm(len(train.labels), generator=generator).split(BATCH_SIZE):
            with torch.autocast(train.features.device.type, torch.bfloat16):
                logits = member(train.features[batch])
            loss = F.cross_entropy(
                logits.float(),
                train.labels[batch],
                weight=weights,
                label_smoothing=0.05,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        member.eval()
        with torch.no_grad():
            held_out = F.cross_entropy(
                member(validation.features), validation.labels, weight=weights
            )
        if float(held_out) < best_loss:
            best_loss = float(held_out)
            best = {k: v.clone() for k, v in member.state_dict().items()}
    member.load_state_dict(best)
