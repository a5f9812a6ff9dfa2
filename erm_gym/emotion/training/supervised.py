"""Supervised training of an ERM: from cached hidden states of texts to what people said of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.erm import EmotionalRewardModel
from erm_gym.emotion.training.checkpoints import read_checkpoint, write_checkpoint
from erm_gym.emotion.training.labels import all_targets
from erm_gym.emotion.training.state_cache import StateCache

POSITIONS_AT_ONCE = 24_000
"""Most positions of a batch, padding included, unless one text alone has more."""
BATCHES_PER_BUCKET = 16
"""Texts are shuffled, and sorted by length within so many batches, so that little is padding."""
BASE_RATE_FLOOR = 1e-4
"""Smallest share of texts that a label is taken to have, for its bias to start at."""

SMALLEST_DEVIATION = 1e-3
"""A rating that is the same for all texts is divided by this."""


class TrainingDiverged(RuntimeError):
    """The loss is no number; the message names the fix."""


@dataclass(frozen=True, kw_only=True)
class ERMTraining:
    """Hyperparameters of the supervised phase."""

    epochs: int = 6
    """Passes over the texts; the rate follows one cycle over all of them."""
    batch_size: int = 128
    """Texts per update."""
    learning_rate: float = 1.5e-3
    """Largest step size of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    warmup: float = 0.2
    """Share of the updates in which the rate rises."""
    class_weight: float = 0.0
    """Power p of a label's weight (absent / present)^p where it is present; 0 weighs none, 1 gives
    both sides of every label the same weight."""
    prefix_share: float = 0.1
    """Share of texts that are cut at a random position: a text in the making is read as well."""
    affect_batch_size: int = 64
    """Rated texts per update."""
    affect_passes: int = 3
    """Passes over the rated texts in every epoch, of which there are far fewer."""
    patience: int = 3
    """Epochs without a better validation loss before stopping."""
    seed: int = 0
    """Seed of the initial weights, the order of texts and the dropout."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "affect_batch_size", "affect_passes", "patience"):
            require_range("ERMTraining", name, getattr(self, name), 1, math.inf)
        for name in ("class_weight", "prefix_share", "warmup"):
            require_range("ERMTraining", name, getattr(self, name), 0.0, 1.0)
        require_range("ERMTraining", "learning_rate", self.learning_rate, 1e-8, 1.0)
        require_range("ERMTraining", "weight_decay", self.weight_decay, 0.0, math.inf)
        require_range("ERMTraining", "seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Texts whose hidden states are cached, what people said of them, and who is held out."""

    states: StateCache
    """Hidden states of all texts."""
    values: Tensor
    """`[N, 28]` labels, or `[N, 3]` ratings in [1, 5]."""
    train: np.ndarray
    """Numbers of the texts to learn from."""
    validation: np.ndarray
    """Numbers of the texts that decide when to stop; also for calibration and thresholds."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training texts."""

    number: int
    """From 1."""
    train_loss: float
    """Mean loss of the updates, with dropout."""
    validation_labels: float
    """Binary cross-entropy per text, weighted as in training and summed over labels and emotions,
    in nats; nan without labels."""
    validation_affect: float
    """Squared error per text in standard deviations, summed over ratings; nan without."""

    @property
    def validation_loss(self) -> float:
        """What is minimised: the sum of both."""
        return float(np.nansum([self.validation_labels, self.validation_affect]))


@dataclass(frozen=True, kw_only=True)
class SupervisedReport:
    """How the supervised phase went."""

    epochs: tuple[Epoch, ...]
    """All that were run."""
    best_epoch: int
    """Number of the one whose weights were kept."""


def train_erm(
    erm: EmotionalRewardModel,
    *,
    labels: Task | None,
    affect: Task | None,
    training: ERMTraining,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SupervisedReport:
    """Train encoders, pooling and heads of a new ERM; its tonic GRU is left alone.

    Every member learns by itself from the same batches: the loss is the mean of the members' and
    not that of their mean. A batch has labels or ratings; both kinds are shuffled together.
    No global random state is changed.

    Args:
        erm: Trained in place, on its device; left in eval mode.
        labels: Texts with 28 labels; None leaves emotions and labels untrained.
        affect: Texts with three ratings; None leaves valence, arousal and dominance untrained.
        training: Hyperparameters.
        checkpoint: File in which every epoch is kept, and from which the same training (of the
            same ERM, texts and hyperparameters, which is not checked) goes on; None for nowhere.
        progress: Called with the number of updates that are done, and how many there are at most.

    Returns:
        All epochs, and which was kept: the one of the lowest validation loss.

    Raises:
        ValueError: If there is nothing to train on, or the ERM lacks the heads for it.
        TrainingDiverged: If the loss is no number; the best weights so far are in the ERM.
    """
    learner = _Learner(erm, labels, affect, training, progress)
    epochs: list[Epoch] = []
    best = copy.deepcopy(erm.state_dict())
    kept = None if checkpoint is None else read_checkpoint(checkpoint)
    device = next(erm.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        if kept is not None:
            epochs = [Epoch(**epoch) for epoch in kept["epochs"]]
            best = kept["best"]
            learner.restore(kept["learner"])
        try:
            while not _is_finished(epochs, training):
                epochs.append(learner.run_epoch(len(epochs) + 1))
                if _best(epochs) is epochs[-1]:
                    best = copy.deepcopy(erm.state_dict())
                if checkpoint is not None:
                    now = {"best": best, "learner": learner.snapshot()}
                    write_checkpoint(checkpoint, {"epochs": [*map(asdict, epochs)], **now})
        finally:
            erm.load_state_dict(best)
            learner.fold_rating_scale()
            erm.eval()
    return SupervisedReport(epochs=tuple(epochs), best_epoch=_best(epochs).number)


def _best(epochs: Sequence[Epoch]) -> Epoch:
    return min(epochs, key=lambda epoch: epoch.validation_loss)


def _is_finished(epochs: Sequence[Epoch], training: ERMTraining) -> bool:
    if not epochs:
        return False
    waited = len(epochs) - _best(epochs).number
    return len(epochs) == training.epochs or waited >= training.patience


@torch.no_grad()
def predict(erm: EmotionalRewardModel, states: StateCache, rows: np.ndarray) -> Tensor:
    """Return an ERM's outputs `[n, O]` after whole texts (see `EmotionalRewardModel.split`).

    Args:
        erm: In eval mode.
        states: Cached hidden states of the layers that it reads.
        rows: Numbers of n texts.
    """
    device = next(erm.parameters()).device
    outputs = torch.zeros(len(rows), erm.heads.out_features)
    place = {row: index for index, row in enumerate(rows.tolist())}
    for batch in _batches(rows, states.lengths, 512):
        hidden, mask = (each.to(device) for each in states.batch(batch))
        read = erm.outputs_of_members(hidden, mask).mean(0).cpu()
        outputs[[place[row] for row in batch]] = read
    return outputs


class _Learner:
    """The loss, the optimiser and the batches of one training."""

    def __init__(
        self,
        erm: EmotionalRewardModel,
        labels: Task | None,
        affect: Task | None,
        training: ERMTraining,
        progress: Callable[[int, int], None],
    ) -> None:
        if labels is None and affect is None:
            raise ValueError("an ERM cannot be trained without labels or ratings")
        if labels is not None and len(erm.config.labels) != labels.values.shape[1]:
            raise ValueError(
                f"the ERM reads {len(erm.config.labels)} labels, the texts have "
                f"{labels.values.shape[1]}; set ERMConfig.labels to their names"
            )
        if affect is not None and not erm.config.affect:
            raise ValueError("the ERM has no heads for ratings; set ERMConfig.affect")
        self._erm, self._training = erm, training
        self._labels, self._affect = labels, affect
        self._progress = progress
        self._rng = np.random.default_rng(training.seed)
        if labels is not None:
            self._targets, self._known = all_targets(labels.values)  # [N, 6 + 28]
            self._weight = self._start_at_base_rates()
        if affect is not None:
            own = affect.values[affect.train]
            self._mean = own.mean(0)
            self._deviation = own.std(0, correction=0).clamp_min(SMALLEST_DEVIATION)
            with torch.no_grad():
                erm.split(erm.heads.bias)[2].zero_()
        self._updates = len(self._shuffled()) * training.epochs
        self._done = 0
        self._optimizer = torch.optim.AdamW(
            erm.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        steps = max(self._updates, 4)  # fewer are no cycle
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            training.learning_rate,
            total_steps=steps,
            pct_start=max(training.warmup, 2 / steps),
        )

    def _start_at_base_rates(self) -> Tensor:
        """Sets the biases of emotions and labels; returns their weights where present, `[34]`."""
        assert self._labels is not None
        rows = torch.from_numpy(self._labels.train)
        known = self._known[rows]
        rate = (self._targets[rows] * known).sum(0) / known.sum(0).clamp(min=1)
        odds = torch.logit(rate.clamp(BASE_RATE_FLOOR, 1.0 - BASE_RATE_FLOOR))
        bias = self._erm.heads.bias
        with torch.no_grad():
            bias[: len(odds)] = odds.to(bias)
        return torch.exp(-self._training.class_weight * odds)

    def run_epoch(self, number: int) -> Epoch:
        self._erm.train()
        members, losses = self._erm.config.members, []
        for task, rows in self._shuffled():
            hidden, mask = self._cut(*task.states.batch(rows))
            loss = self._loss(task, self._erm.outputs_of_members(hidden, mask), rows)
            if not bool(torch.isfinite(loss)):
                raise TrainingDiverged(
                    f"the loss is {float(loss.detach())} in epoch {number}; give a smaller "
                    "learning rate, and look for nan in the hidden states"
                )
            self._optimizer.zero_grad()
            (loss * members).backward()
            nn.utils.clip_grad_norm_(self._erm.parameters(), math.sqrt(members))
            self._optimizer.step()
            losses.append(float(loss.detach()))
            # Long texts make smaller batches, so that an epoch may have a few more than the first.
            self._done = min(self._done + 1, self._updates)
            if self._done < self._updates:
                self._schedule.step()
            self._progress(self._done, self._updates)
        return Epoch(
            number=number,
            train_loss=float(np.mean(losses)),
            validation_labels=self._validate(self._labels),
            validation_affect=self._validate(self._affect),
        )

    def snapshot(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        device = self._erm.heads.weight.device
        return {
            "erm": self._erm.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "done": self._done,
            "order": self._rng.bit_generator.state,
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Goes on from a snapshot."""
        self._erm.load_state_dict(kept["erm"])
        self._optimizer.load_state_dict(kept["optimizer"])
        self._schedule.load_state_dict(kept["schedule"])
        self._done = kept["done"]
        self._rng.bit_generator.state = kept["order"]
        torch.set_rng_state(kept["cpu"])
        if kept["cuda"] is not None:
            torch.cuda.set_rng_state(kept["cuda"], self._erm.heads.weight.device)

    def fold_rating_scale(self) -> None:
        """Makes the heads give ratings on their own scale instead of standard deviations."""
        if self._affect is None:
            return
        heads = self._erm.heads
        with torch.no_grad():
            for own, scale in zip(range(-3, 0), self._deviation.tolist(), strict=True):
                heads.weight[own] *= scale
                heads.bias[own] = heads.bias[own] * scale + self._mean[own]

    def _shuffled(self) -> list[tuple[Task, list[int]]]:
        batches: list[tuple[Task, list[int]]] = []
        training = self._training
        passes = [(self._labels, training.batch_size)]
        passes += [(self._affect, training.affect_batch_size)] * training.affect_passes
        for task, size in passes:
            if task is None:
                continue
            order = self._rng.permutation(task.train)
            for start in range(0, len(order), size * BATCHES_PER_BUCKET):
                bucket = order[start : start + size * BATCHES_PER_BUCKET]
                batches += [(task, rows) for rows in _batches(bucket, task.states.lengths, size)]
        return [batches[index] for index in self._rng.permutation(len(batches))]

    def _cut(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Cuts some texts at a random position, and moves all to the ERM's device."""
        if self._training.prefix_share:
            lengths = mask.sum(1).numpy()
            shorter = self._rng.integers(1, lengths + 1)
            chosen = self._rng.random(len(lengths)) < self._training.prefix_share
            kept = torch.from_numpy(np.where(chosen, shorter, lengths))
            mask = torch.arange(mask.shape[1]) < kept[:, None]
        device = self._erm.heads.weight.device
        return hidden.to(device), mask.to(device)

    def _loss(self, task: Task, outputs: Tensor, rows: Sequence[int]) -> Tensor:
        """Mean over members and texts of outputs `[M, n, O]`, summed over what is to be read."""
        device = outputs.device
        if task is self._affect:
            wanted = ((task.values[rows] - self._mean) / self._deviation).to(device)
            return (self._erm.split(outputs)[2] - wanted).square().sum(-1).mean()
        targets, known = self._targets[rows].to(device), self._known[rows].to(device)
        each = functional.binary_cross_entropy_with_logits(
            outputs[..., : targets.shape[1]],
            targets.expand(len(outputs), -1, -1),
            pos_weight=self._weight.to(device),
            reduction="none",
        )
        return (each * known).sum(-1).mean()

    @torch.no_grad()
    def _validate(self, task: Task | None) -> float:
        if task is None:
            return math.nan
        self._erm.eval()
        outputs = predict(self._erm, task.states, task.validation)
        loss = float(self._loss(task, outputs[None], task.validation.tolist()))
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the validation loss is {loss}; give a smaller learning rate, and look for nan in "
                "the hidden states"
            )
        return loss


def _batches(rows: np.ndarray, lengths: np.ndarray, size: int) -> Iterator[list[int]]:
    """Numbers of texts of nearly equal lengths, at most `size` and `POSITIONS_AT_ONCE`."""
    batch: list[int] = []
    for row in rows[np.argsort(lengths[rows], kind="stable")].tolist():
        longest = int(lengths[row])
        if batch and (len(batch) == size or (len(batch) + 1) * longest > POSITIONS_AT_ONCE):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
