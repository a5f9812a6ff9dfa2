"""Trains the short ERM: it says from one layer what the critic's ERM says from three."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from erm_gym.emotion import EMOTIONS, EmotionalCritic, EmotionalRewardModel
from erm_gym.emotion.training.datasets import LABELLED_FILE, read_goemotions
from erm_gym.emotion.training.pairs import read_preference_pairs
from erm_gym.feedback.feelings import FEELINGS, feelings_of, pad, read_off, short_erm
from erm_gym.feedback.judge import read_labelled_replies
from erm_gym.feedback.prompts import load_prompts
from erm_gym.feedback.reading import read_replies
from erm_gym.feedback.users.empathy import WEIGHTS
from erm_gym.llm import FrozenLLM
from erm_gym.llm.frozen import Messages

PREFERENCES_FILE = "hh_harmless_a.jsonl"
OWN_REPLIES, COMMENTS = 1800, 2000
"""How many of our own replies, and of GoEmotions' comments, are read."""
HELD_OUT = {"test": 0.15, "validation": 0.15}
"""Shares of the texts that nothing is fitted to; validation says when to stop."""
EPOCHS = 16
BATCH_SIZE = 64
SORTED_TOGETHER = 16
"""Batches within which texts are sorted by length, so that little is padded."""
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
FEWEST_TEXTS = 40


@dataclass(frozen=True, kw_only=True)
class EmpathyReport:
    """How well the short ERM says what the ERM says, on texts that it was not trained on."""

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
) -> tuple[EmotionalRewardModel, EmpathyReport]:
    """Trains a short ERM to say what a critic's ERM says.

    Args:
        llm: The frozen LM.
        critic: A trained critic for it, with affective ratings.
        texts: What was said before, and a reply; at least 40. Empty replies are left out.
        seed: Seed of the weights, the split and the batches.
        progress: Called with the number of texts that are read, and how many there are.

    Returns:
        The short ERM in evaluation mode, and how well it does on the texts that were held out.
    """
    texts = [text for text in texts if llm.encode_text(text[1])]
    prompts = [prompt for prompt, _ in texts]
    groups = np.unique([repr(prompt) for prompt in prompts], return_inverse=True)[1]
    hidden, readings = [], []
    replies = [reply for _, reply in texts]
    layers = critic.config.layers
    for _, state in read_replies(
        llm, prompts, replies, progress, layers=layers, template_once=True
    ):
        for_erm, for_fear = critic.split_layers(state)  # [T, K, d], and [T, d] at llm.layer
        hidden.append(for_fear.to(llm.dtype))
        readings.append(read_off(critic.erm, [for_erm]))
    return fit_short_erm(llm, hidden, torch.cat(readings), groups, seed=seed)


def fit_short_erm(
    llm: FrozenLLM,
    hidden: Sequence[Tensor],
    readings: Tensor,
    groups: np.ndarray,
    *,
    seed: int = 0,
) -> tuple[EmotionalRewardModel, EmpathyReport]:
    """Fits the short ERM once the texts are read; see `train_empathy`.

    Cross-entropy with the ERM's probabilities for the emotions, and the squared error for its
    ratings; the epoch with the lowest loss on the validation texts is kept.

    Args:
        llm: The frozen LM.
        hidden: N replies, `[T, d]` each with T >= 1, at the layer `llm.layer`.
        readings: `[N, 9]` as `read_off` gives them.
        groups: `[N]` int; texts of one group, that is behind the same prompt, stay together.
        seed: Seed of the weights, the split and the batches.

    Raises:
        ValueError: If there are too few texts.
    """
    if len(hidden) < FEWEST_TEXTS:
        raise ValueError(f"{len(hidden)} texts are too few; give at least {FEWEST_TEXTS}")
    rows = _split(groups, seed)
    rng = np.random.default_rng(seed)
    lengths = np.array([len(own) for own in hidden])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout and weights draw from the global generator
        erm = short_erm(llm)
        best, lowest = _copy(erm), float("inf")
        optimizer = torch.optim.AdamW(erm.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(EPOCHS):
            erm.train()
            for batch in _batches(rows["train"], lengths, rng):
                optimizer.zero_grad()
                _loss(erm, hidden, readings, batch).backward()
                optimizer.step()
            erm.eval()
            with torch.no_grad():
                losses = [
                    len(batch) * float(_loss(erm, hidden, readings, batch))
                    for batch in np.array_split(
                        rows["validation"], -(-len(rows["validation"]) // BATCH_SIZE)
                    )
                ]
            if sum(losses) < lowest:
                lowest, best = sum(losses), _copy(erm)
    erm.load_state_dict(best)
    return erm.eval(), _report(erm, hidden, readings, rows)


def _split(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rows of each split; groups stay whole."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    place = np.argsort(order)[groups] / len(order)  # [N] in [0, 1)
    edge = HELD_OUT["test"] + HELD_OUT["validation"]
    where = {
        "test": place < HELD_OUT["test"],
        "validation": (place >= HELD_OUT["test"]) & (place < edge),
        "train": place >= edge,
    }
    return {split: np.flatnonzero(mask) for split, mask in where.items()}


def _batches(
    rows: np.ndarray, lengths: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """All rows in random batches of texts of nearly equal lengths."""
    shuffled = rng.permutation(rows)
    together = SORTED_TOGETHER * BATCH_SIZE
    for first in range(0, len(shuffled), together):
        part = shuffled[first : first + together]
        part = part[lengths[part].argsort(kind="stable")]
        for start in range(0, len(part), BATCH_SIZE):
            yield part[start : start + BATCH_SIZE]


def _loss(
    erm: EmotionalRewardModel, hidden: Sequence[Tensor], readings: Tensor, rows: np.ndarray
) -> Tensor:
    states, mask = pad([hidden[row][:, None].float() for row in rows])  # [n, T, 1, d]
    emotions, _, ratings = erm.split(erm.outputs_of_members(states, mask).mean(0))
    truth = readings[rows]
    return F.binary_cross_entropy_with_logits(emotions, truth[:, : len(EMOTIONS)]) + F.mse_loss(
        ratings, truth[:, len(EMOTIONS) :]
    )


def _copy(erm: EmotionalRewardModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in erm.state_dict().items()}


def _report(
    erm: EmotionalRewardModel,
    hidden: Sequence[Tensor],
    readings: Tensor,
    rows: dict[str, np.ndarray],
) -> EmpathyReport:
    read = feelings_of(read_off(erm, [hidden[row][:, None].float() for row in rows["test"]]))
    truth = feelings_of(readings[rows["test"]])
    weights = torch.tensor([WEIGHTS[name] for name in FEELINGS])
    columns = {name: (read[:, i], truth[:, i]) for i, name in enumerate(FEELINGS)}
    columns["score"] = (read @ weights, truth @ weights)
    return EmpathyReport(
        texts={split: len(own) for split, own in rows.items()},
        correlation={
            name: float(torch.corrcoef(torch.stack(both))[0, 1]) for name, both in columns.items()
        },
        error={name: float((a - b).abs().mean()) for name, (a, b) in columns.items()},
        spread={name: float((b - b.mean()).abs().mean()) for name, (_, b) in columns.items()},
    )
