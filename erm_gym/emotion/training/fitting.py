"""The supervised phase from files to a trained ERM: read, train, calibrate, choose thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.erm import EmotionalRewardModel
from erm_gym.emotion.training.calibration import calibrate
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.evaluation import correlations, measure_labels
from erm_gym.emotion.training.labels import all_targets
from erm_gym.emotion.training.metrics import best_threshold
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.splits import split_rows
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import (
    ERMTraining,
    SupervisedReport,
    Task,
    predict,
    train_erm,
)
from erm_gym.emotion.training.tonic import TonicReport, train_tonic
from erm_gym.llm import FrozenLLM
from erm_gym.llm.digest import digest

VALIDATION_SHARE = 0.1
"""Share of the training texts that is held out."""
SPLIT_SEED = 123
"""Decides which; the same for every training, so that validation figures can be compared."""


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What was learned, and how well it fits the texts that it was calibrated on."""

    supervised: SupervisedReport
    """Epochs of the encoders and heads."""
    tonic: TonicReport | None
    """The tonic state; None without labels."""
    layer_mix: list[list[float]]
    """Share of each layer in what each member reads."""
    validation: dict[str, Any]
    """Figures as `ERMFigures.as_dict` has them, on the texts that chose the epoch, the calibration
    and the thresholds: they flatter. Measure on other texts with `evaluate_erm`."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON has."""
        return asdict(self)


def fit_erm(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    *,
    goemotions: LabelledTexts | None,
    emobank: LabelledTexts | None,
    training: ERMTraining,
    cache: Path,
    progress: Progress = no_progress,
) -> FitReport:
    """Train the ERM of a new critic on labelled texts.

    With ratings alone the emotions stay untrained, and the configuration does not call them so.

    Args:
        critic: Its ERM is trained in place; with labels, its configuration says so afterwards.
        llm: The language model whose hidden states it reads.
        goemotions: Texts with 28 labels; None leaves emotions untrained.
        emobank: Texts with ratings; None leaves valence, arousal and dominance untrained.
        training: Hyperparameters.
        cache: Folder of the hidden states, which are computed once, and of the epochs: a second
            call goes on with both.
        progress: Told how far it is.

    Raises:
        DataError: If texts cannot be read by the language model, or the disk is full.
        TrainingDiverged: If the loss is no number.
    """

    def task(data: LabelledTexts | None) -> Task | None:
        if data is None:
            return None
        states = StateCache(
            cache,
            llm,
            data.texts,
            critic.config.erm.layers,
            progress=lambda done, total: progress(f"reading {data.source}", done, total, "texts"),
        )
        train, validation = split_rows(len(data), VALIDATION_SHARE, SPLIT_SEED)
        return Task(states=states, values=data.values, train=train, validation=validation)

    labels, affect = task(goemotions), task(emobank)
    erm = critic.erm
    supervised = train_erm(
        erm,
        labels=labels,
        affect=affect,
        training=training,
        checkpoint=cache / "trainings" / f"{_name(erm, labels, affect, training)}.pt",
        progress=lambda done, total: progress("training the ERM", done, total, "updates"),
    )
    tonic: TonicReport | None = None
    validation: dict[str, Any] = {}
    if labels is not None:
        calibrate_critic(critic, labels)
        emotions, others = measure_labels(
            predict(erm, labels.states, labels.validation), _truth(labels), critic
        )
        validation["emotions"] = {name: asdict(one) for name, one in emotions.items()}
        validation["labels"] = {name: one.f1 for name, one in others.items()}
        tonic = train_tonic(erm, labels.states, labels.train, seed=training.seed)
        critic.config = replace(critic.config, trained=True)
    if affect is not None:
        ratings = erm.split(predict(erm, affect.states, affect.validation))[2]
        validation["affect"] = correlations(ratings, _truth(affect))
    return FitReport(
        supervised=supervised,
        tonic=tonic,
        layer_mix=erm.layer_mix(),
        validation=validation,
    )


def _name(
    erm: EmotionalRewardModel, labels: Task | None, affect: Task | None, training: ERMTraining
) -> str:
    """What the course of a training depends on, digested."""

    def parts() -> Iterator[bytes]:
        yield repr((training, erm.config)).encode()
        for weights in erm.state_dict().values():
            yield weights.cpu().numpy().tobytes()
        for task in (labels, affect):
            if task is not None:
                yield task.states.folder.name.encode()
                yield task.values.numpy().tobytes()
                yield task.train.tobytes() + task.validation.tobytes()

    return digest(parts())


def _truth(task: Task) -> torch.Tensor:
    """What people said of the held-out texts."""
    return task.values[torch.from_numpy(task.validation)]


def calibrate_critic(critic: EmotionalCritic, task: Task) -> None:
    """Make probabilities honest and choose thresholds, on the held-out texts of a task.

    Args:
        critic: Its ERM has been trained; heads and configuration are changed.
        task: Labelled texts.
    """
    targets, known = all_targets(_truth(task))
    before = predict(critic.erm, task.states, task.validation)
    calibrate(critic.erm, before, targets, known)
    outputs = predict(critic.erm, task.states, task.validation)
    thresholds = tuple(
        best_threshold(torch.sigmoid(own[there]).numpy(), truth[there].numpy())
        for own, truth, there in zip(outputs.T, targets.T, known.T, strict=False)
    )
    critic.config = replace(critic.config, thresholds=thresholds)
