"""What more weights, more layers and more texts buy: one ERM per point of a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.erm import ERMConfig
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.evaluation import correlations, measure_labels
from erm_gym.emotion.training.fitting import SPLIT_SEED, VALIDATION_SHARE, calibrate_critic
from erm_gym.emotion.training.labels import GOEMOTIONS
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.splits import split_rows
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import ERMTraining, Task, predict, train_erm
from erm_gym.llm import FrozenLLM

SHOWN = ("fear", "curiosity", "anger", "joy")
"""Emotions whose AUC is told."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One point of a curve, or of several that cross there."""

    places: Mapping[str, str]
    """By the curve, `data`, `size` or `layers`, what the point is called on its axis."""
    form: ERMConfig
    """Form of the ERM."""
    share: float = 1.0
    """Share of the training texts, in (0, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpora:
    """Texts to learn from and to measure on, read once at all layers that a variant asks for."""

    train: tuple[LabelledTexts, StateCache]
    """Labelled texts; a tenth of them chooses epoch, calibration and thresholds."""
    rated: tuple[LabelledTexts, StateCache]
    """Rated texts; a tenth of them chooses the epoch."""
    dev: tuple[LabelledTexts, StateCache]
    """Labelled texts that are only measured on."""
    rated_dev: tuple[LabelledTexts, StateCache]
    """Rated texts that are only measured on."""


def default_variants(num_layers: int) -> list[Variant]:
    """Curves around one encoder of the default form, for a language model of that many layers."""
    form = replace(ERMConfig.for_depth(num_layers), members=1, labels=GOEMOTIONS, affect=True)
    middle = form.layers[len(form.layers) // 2]

    def named(layers: tuple[int, ...]) -> str:
        return ", ".join(map(str, layers))

    return [
        *(
            Variant(places={"data": f"{100 * share:g}%"}, form=form, share=share)
            for share in (0.125, 0.25, 0.5)
        ),
        Variant(places={"size": "64-32"}, form=replace(form, width=64, encoded_size=32)),
        Variant(places={"layers": named((middle,))}, form=replace(form, layers=(middle,))),
        Variant(
            places={
                "data": "100%",
                "size": "256-128",
                "layers": named(form.layers),
            },
            form=form,
        ),
        Variant(places={"size": "3 x 256-128"}, form=replace(form, members=3)),
    ]


def train_variant(
    variant: Variant,
    llm: FrozenLLM,
    corpora: Corpora,
    *,
    training: ERMTraining,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Train one ERM, and measure it on texts that nothing was chosen by.

    Args:
        variant: Which.
        llm: The language model.
        corpora: The texts.
        training: Hyperparameters, the same for all points of a curve.
        checkpoint: File that keeps the epochs; None for nowhere.
        progress: Told how far it is.
    """
    critic = EmotionalCritic.for_llm(llm, seed=training.seed, erm=variant.form)
    labels = _task(corpora.train, variant, training.seed)
    train_erm(
        critic.erm,
        labels=labels,
        affect=_task(corpora.rated, variant, training.seed),
        training=training,
        checkpoint=checkpoint,
        progress=lambda done, total: progress(
            "training " + ", ".join(variant.places.values()), done, total, "updates"
        ),
    )
    return measure_variant(variant, critic, labels, corpora)


def measure_variant(
    variant: Variant, critic: EmotionalCritic, labels: Task, corpora: Corpora
) -> dict[str, Any]:
    """Calibrate a trained ERM and return its figures, in values that JSON has.

    Args:
        variant: What it is.
        critic: Its ERM has been trained.
        labels: The task that it was trained on, whose held-out texts calibrate it.
        corpora: The texts to measure on.
    """
    calibrate_critic(critic, labels)
    layers = critic.config.erm.layers

    def outputs(corpus: tuple[LabelledTexts, StateCache]) -> Any:
        texts, states = corpus
        return predict(critic.erm, states.select(layers), np.arange(len(texts)))

    emotions, others = measure_labels(outputs(corpora.dev), corpora.dev[0].values, critic)
    affect = critic.erm.split(outputs(corpora.rated_dev))[2]
    return {
        "places": dict(variant.places),
        "share": variant.share,
        "layers": list(layers),
        "weights": sum(weight.numel() for weight in critic.erm.parameters()),
        "auc": {name: emotions[name].auc for name in SHOWN},
        "macro_f1": float(np.mean([one.f1 for one in others.values()])),
        "affect": correlations(affect, corpora.rated_dev[0].values),
    }


def _task(corpus: tuple[LabelledTexts, StateCache], variant: Variant, seed: int) -> Task:
    """A share of the training texts; the held-out ones are the same for all."""
    texts, states = corpus
    train, validation = split_rows(len(texts), VALIDATION_SHARE, SPLIT_SEED)
    count = int(variant.share * len(train))
    chosen = np.sort(np.random.default_rng(seed).permutation(train)[:count])
    own = states.select(variant.form.layers)
    return Task(states=own, values=texts.values, train=chosen, validation=validation)


def union_of_layers(variants: Sequence[Variant]) -> tuple[int, ...]:
    """All layers that some variant reads, ascending."""
    return tuple(sorted({layer for variant in variants for layer in variant.form.layers}))
