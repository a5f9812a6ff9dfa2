"""Supervised training: it learns, by hand, reproducibly, and says what is wrong."""

from __future__ import annotations

import copy
import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from erm_gym.emotion import EmotionalRewardModel, ERMConfig
from erm_gym.emotion.training import supervised
from erm_gym.emotion.training.checkpoints import read_checkpoint
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import GOEMOTIONS, all_targets
from erm_gym.emotion.training.splits import split_rows
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import (
    ERMTraining,
    Task,
    TrainingDiverged,
    predict,
    train_erm,
)
from erm_gym.llm import FrozenLLM

FORM = ERMConfig(
    layers=(1, 3), members=2, width=32, encoded_size=16, dropout=0.1, labels=GOEMOTIONS, affect=True
)
SHORT = ERMTraining(epochs=2, batch_size=32, affect_batch_size=32, learning_rate=5e-3)


def new_erm(form: ERMConfig = FORM) -> EmotionalRewardModel:
    torch.manual_seed(0)
    return EmotionalRewardModel(32, form).eval()


def task(llm: FrozenLLM, data: LabelledTexts, folder: Path) -> Task:
    train, validation = split_rows(len(data), 0.2, seed=0)
    cache = StateCache(folder, llm, data.texts, FORM.layers)
    return Task(states=cache, values=data.values, train=train, validation=validation)


@pytest.fixture
def labels(tiny: FrozenLLM, labelled: LabelledTexts, states: Path) -> Task:
    return task(tiny, labelled, states)


@pytest.fixture
def affect(tiny: FrozenLLM, rated: LabelledTexts, states: Path) -> Task:
    return task(tiny, rated, states)


def test_it_learns_labels_and_ratings_together(labels: Task, affect: Task) -> None:
    erm = new_erm()
    tonic = [parameter.clone() for parameter in erm.tonic.parameters()]
    told: list[tuple[int, int]] = []
    report = train_erm(
        erm,
        labels=labels,
        affect=affect,
        training=replace(SHORT, epochs=8),
        progress=lambda *where: told.append(where),
    )
    assert not erm.training
    first, last = report.epochs[0], report.epochs[-1]
    assert last.validation_labels < 0.5 * first.validation_labels
    losses = [epoch.validation_loss for epoch in report.epochs]
    assert report.best_epoch == 1 + int(np.argmin(losses))
    # 240 texts in batches of 32, and three passes over 96 ratings
    assert told == [(done, 8 * (8 + 3 * 3)) for done in range(1, 8 * 17 + 1)]
    emotions, others, _ = erm.split(predict(erm, labels.states, labels.validation))
    truth, _ = all_targets(labels.values[torch.from_numpy(labels.validation)])
    fear, joy = emotions[:, 0].sigmoid(), others[:, GOEMOTIONS.index("joy")].sigmoid()
    assert fear[truth[:, 0] == 1].min() > 0.5 > fear[truth[:, 0] == 0].max()
    assert joy[truth[:, 3] == 1].min() > 0.5 > joy[truth[:, 3] == 0].max()
    ratings = erm.split(predict(erm, affect.states, affect.validation))[2]
    wanted = affect.values[torch.from_numpy(affect.validation)]
    assert (ratings - wanted).abs().mean() < 0.3  # on the scale of people, not in deviations
    assert all(map(torch.equal, tonic, erm.tonic.parameters()))


def test_the_loss_by_hand(labels: Task, affect: Task) -> None:
    """Validation before any learning: emotions where known, labels, squared deviations."""
    erm = new_erm()
    still = replace(SHORT, epochs=1, learning_rate=1e-8, weight_decay=0.0, class_weight=0.5)
    report = train_erm(erm, labels=labels, affect=affect, training=still)
    rows = torch.from_numpy(labels.validation)
    targets, known = all_targets(labels.values)
    own = torch.from_numpy(labels.train)
    rate = (targets[own] * known[own]).sum(0) / known[own].sum(0).clamp(min=1)
    weight = ((1 - rate.clamp(1e-4, 1 - 1e-4)) / rate.clamp(1e-4, 1 - 1e-4)).sqrt()
    outputs = predict(erm, labels.states, labels.validation)[:, :34]
    p = outputs.sigmoid()
    each = -weight * targets[rows] * p.log() - (1 - targets[rows]) * (1 - p).log()
    expected = (each * known[rows]).sum(1).mean()
    assert report.epochs[0].validation_labels == pytest.approx(float(expected), rel=1e-4)
    # The biases start at the base rates, and hardly moved.
    torch.testing.assert_close(
        erm.heads.bias[:34], torch.logit(rate.clamp(1e-4, 1 - 1e-4)), atol=1e-4, rtol=0
    )
    rated = affect.values[torch.from_numpy(affect.train)]
    mean, deviation = rated.mean(0), rated.std(0, correction=0)
    ratings = erm.split(predict(erm, affect.states, affect.validation))[2]
    wanted = affect.values[torch.from_numpy(affect.validation)]
    error = (((ratings - mean) - (wanted - mean)) / deviation).square().sum(1).mean()
    assert report.epochs[0].validation_affect == pytest.approx(float(error), rel=1e-4)


def test_members_learn_each_by_itself(labels: Task) -> None:
    """Their mean is what is read; the loss is the mean of theirs."""
    erm = new_erm()
    hidden, mask = labels.states.batch([0, 1, 2])
    outputs = erm.outputs_of_members(hidden, mask)  # [2, 3, O]
    pools = erm.pooling.read(erm._encode(hidden, "[B, T, K, d]"), mask)
    read = erm.read_off(pools)
    torch.testing.assert_close(outputs.mean(0)[:, :6].sigmoid(), read.emotions)
    pooled = erm.pooling.pooled(pools)
    own = 2 * pooled[:, 1] @ erm.heads.weight[:, pooled.shape[2] :].T + erm.heads.bias
    torch.testing.assert_close(outputs[1], own)
    functional.mse_loss(outputs[0], torch.zeros_like(outputs[0])).backward()
    first, second = (
        erm.get_parameter(f"encoders.{member}.layers.0.weight").grad for member in range(2)
    )
    assert first is not None and first.abs().sum() > 0
    assert second is None or not second.any()


def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(
    labels: Task, affect: Task, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done == 20:  # in the second epoch
            raise Killed

    path = tmp_path / "new" / "training.pt"
    tasks: dict[str, Any] = {
        "labels": labels,
        "affect": affect,
        "training": replace(SHORT, epochs=3),
    }
    whole, torn, resumed = new_erm(), new_erm(), new_erm()
    expected = train_erm(whole, **tasks)
    with pytest.raises(Killed):
        train_erm(torn, **tasks, checkpoint=path, progress=kill)
    told: list[int] = []
    report = train_erm(
        resumed, **tasks, checkpoint=path, progress=lambda done, total: told.append(done)
    )
    assert told[0] == 18 and report == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    again = new_erm()
    assert train_erm(again, **tasks, checkpoint=path) == expected  # nothing was left to do
    assert torch.equal(again.heads.weight, whole.heads.weight)


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04 torn"])
def test_a_damaged_checkpoint_is_as_good_as_none(
    content: bytes, labels: Task, tmp_path: Path
) -> None:
    path = tmp_path / "training.pt"
    path.write_bytes(content)
    training = replace(SHORT, epochs=1)
    told: list[int] = []
    train_erm(
        new_erm(),
        labels=labels,
        affect=None,
        training=training,
        checkpoint=path,
        progress=lambda done, total: told.append(done),
    )
    assert told[0] == 1
    assert read_checkpoint(path) is not None and [*tmp_path.iterdir()] == [path]


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    labels: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(kept: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    training = replace(SHORT, epochs=1)
    with pytest.warns(UserWarning, match="No space left .*; a kill would cost the training"):
        report = train_erm(
            new_erm(), labels=labels, affect=None, training=training, checkpoint=tmp_path / "x.pt"
        )
    assert report.best_epoch == 1 and not [*tmp_path.iterdir()]


def test_the_same_seed_gives_the_same_weights(labels: Task) -> None:
    before = torch.get_rng_state()
    models = [new_erm() for _ in range(3)]
    torch.set_rng_state(before)
    for erm, seed in zip(models, (0, 0, 1), strict=True):
        train_erm(erm, labels=labels, affect=None, training=replace(SHORT, seed=seed))
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (erm.heads.weight for erm in models)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_texts_are_cut_at_random(labels: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    erm = new_erm()
    read = erm.outputs_of_members

    def spy(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths.extend(mask.sum(1).tolist())
        return read(hidden, mask)

    monkeypatch.setattr(erm, "outputs_of_members", spy)
    training = replace(SHORT, epochs=1, prefix_share=1.0)
    train_erm(erm, labels=labels, affect=None, training=training)
    whole = labels.states.lengths.min()
    assert min(lengths) == 1 and sum(length < whole for length in lengths) > 50


def test_an_epoch_may_have_more_batches_than_the_first(
    labels: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which texts meet in a batch decides how many fit into it."""
    counts = iter([1, 4, 4])  # planned, and run
    batches = [(labels, [0, 1]), (labels, [2]), (labels, [3]), (labels, [4])]
    monkeypatch.setattr(supervised._Learner, "_shuffled", lambda self: batches[: next(counts)])
    told: list[tuple[int, int]] = []
    train_erm(
        new_erm(),
        labels=labels,
        affect=None,
        training=SHORT,
        progress=lambda *where: told.append(where),
    )
    assert told == [(1, 2)] + [(2, 2)] * 7


def test_a_long_text_is_a_batch_of_its_own(labels: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "POSITIONS_AT_ONCE", 40)
    lengths = np.array([10, 10, 10, 10, 10, 100])
    batches = list(supervised._batches(np.arange(6), lengths, 4))
    assert batches == [[0, 1, 2, 3], [4], [5]]


def test_patience_ends_it_and_the_best_weights_stay(labels: Task) -> None:
    erm = new_erm()
    wild = replace(SHORT, epochs=9, learning_rate=1.0, warmup=1.0, patience=1)
    report = train_erm(erm, labels=labels, affect=None, training=wild)
    assert len(report.epochs) == report.best_epoch + 1 < 9
    again = train_erm(
        kept := new_erm(), labels=labels, affect=None, training=replace(wild, epochs=9)
    )
    assert again == report and torch.equal(kept.heads.weight, erm.heads.weight)


def test_nan_ends_it_and_the_weights_are_the_last_good_ones(
    labels: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    erm = new_erm()
    broken = copy.copy(labels.states)
    monkeypatch.setattr(broken, "_states", np.full_like(broken._states, -1))  # -1 is nan's bits
    with pytest.raises(TrainingDiverged, match="the loss is nan in epoch 1; give a smaller"):
        train_erm(erm, labels=replace(labels, states=broken), affect=None, training=SHORT)
    assert all(bool(torch.isfinite(value).all()) for value in erm.state_dict().values())
    assert not erm.training


def test_nothing_to_learn_is_an_error(labels: Task, affect: Task) -> None:
    with pytest.raises(ValueError, match="without labels or ratings"):
        train_erm(new_erm(), labels=None, affect=None, training=SHORT)
    with pytest.raises(ValueError, match="reads 0 labels, the texts have 28"):
        train_erm(new_erm(replace(FORM, labels=())), labels=labels, affect=None, training=SHORT)
    with pytest.raises(ValueError, match="no heads for ratings"):
        train_erm(new_erm(replace(FORM, affect=False)), labels=None, affect=affect, training=SHORT)


@pytest.mark.parametrize(("count", "share", "held_out"), [(10, 0.2, 2), (2, 0.0, 1), (3, 1.0, 2)])
def test_a_split_leaves_something_on_both_sides(count: int, share: float, held_out: int) -> None:
    train, validation = split_rows(count, share, seed=0)
    assert len(validation) == held_out
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(count))
    with pytest.raises(ValueError, match="1 texts cannot be split"):
        split_rows(1, 0.5, seed=0)


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "class_weight", "seed", "patience"])
def test_a_bad_hyperparameter_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"ERMTraining.{name} is -1"):
        replace(SHORT, **{name: -1})
