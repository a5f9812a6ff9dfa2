"""How well a trained ERM reads texts that people labelled, and what it costs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.config import CriticError
from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.erm import AFFECT
from erm_gym.emotion.signals import EMOTIONS
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import GOEMOTIONS, all_targets, emotion_targets
from erm_gym.emotion.training.metrics import EmotionMetrics, measure
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import predict
from erm_gym.llm import FrozenLLM

CANDIDATES = 16
"""Likeliest tokens that are biased when the cost is measured; as many as environments offer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ERMFigures:
    """Measured on some texts."""

    emotions: dict[str, EmotionMetrics]
    """The six emotions; empty without labelled texts."""
    labels: dict[str, EmotionMetrics]
    """The labels; empty without labelled texts."""
    affect: dict[str, float]
    """Pearson's r of valence, arousal and dominance; empty without rated texts."""
    probabilities: Tensor
    """`[N, 6]` of the emotions of the labelled texts, for pictures."""
    truth: Tensor
    """`[N, 6]` 0 or 1; nan where the labels say nothing about an emotion."""

    def as_dict(self) -> dict[str, Any]:
        """The numbers, as `erm-gym erm eval --json` writes them."""
        return {
            "emotions": {name: asdict(one) for name, one in self.emotions.items()},
            "affect": self.affect,
            "labels": {name: one.f1 for name, one in self.labels.items()},
            "macro_f1": (
                float(np.mean([one.f1 for one in self.labels.values()])) if self.labels else None
            ),
        }


def evaluate_erm(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    *,
    goemotions: LabelledTexts | None,
    emobank: LabelledTexts | None,
    cache: Path,
    progress: Progress = no_progress,
) -> ERMFigures:
    """Measure the phasic reading after whole texts, without any tonic share.

    Args:
        critic: With a trained ERM.
        llm: The language model whose hidden states it reads.
        goemotions: Texts with labels.
        emobank: Texts with ratings.
        cache: Folder of the hidden states.
        progress: Told how far it is.

    Returns:
        Decisions use the thresholds of `CriticConfig.thresholds`.

    Raises:
        CriticError: If the ERM is not trained, or cannot read what the texts are labelled with.
        DataError: If texts cannot be read by the language model, or the disk is full.
    """
    erm = critic.erm
    if goemotions is not None and not (critic.config.trained and critic.config.thresholds):
        raise CriticError(
            f"the emotional reward model for {critic.config.llm_name!r} is untrained on labels; "
            "train one with `erm-gym erm train`, or name a trained critic"
        )
    if goemotions is not None and critic.config.erm.labels != GOEMOTIONS:
        raise CriticError(
            f"this critic reads the labels {critic.config.erm.labels}, and not those of GoEmotions"
        )
    nothing = torch.zeros(0, len(EMOTIONS))
    figures = ERMFigures(emotions={}, labels={}, affect={}, probabilities=nothing, truth=nothing)
    affect: dict[str, float] = {}
    if emobank is not None:
        if not erm.config.affect:
            raise CriticError(
                "this critic was trained without ratings and reads no valence; leave out --emobank"
            )
        outputs = _outputs(critic, llm, emobank, cache, progress)
        affect = correlations(erm.split(outputs)[2], emobank.values)
    if goemotions is None:
        return ERMFigures(**{**vars(figures), "affect": affect})
    outputs = _outputs(critic, llm, goemotions, cache, progress)
    emotions, labels = measure_labels(outputs, goemotions.values, critic)
    targets, known = emotion_targets(goemotions.values)
    return ERMFigures(
        emotions=emotions,
        labels=labels,
        affect=affect,
        probabilities=torch.sigmoid(erm.split(outputs)[0]),
        truth=targets.masked_fill(~known, torch.nan),
    )


def without_nan(value: Any) -> Any:
    """Nested dictionaries and lists in which None stands for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def measure_labels(
    outputs: Tensor, labels: Tensor, critic: EmotionalCritic
) -> tuple[dict[str, EmotionMetrics], dict[str, EmotionMetrics]]:
    """Return the numbers of the six emotions and of the ERM's labels.

    Args:
        outputs: `[N, O]` of the ERM.
        labels: `[N, 28]` 0 or 1.
        critic: Its thresholds decide.
    """
    targets, known = all_targets(labels)
    probability = torch.sigmoid(outputs[:, : targets.shape[1]])
    measured = [
        measure(own[there].numpy(), truth[there].numpy(), threshold)
        for own, truth, there, threshold in zip(
            probability.T, targets.T, known.T, critic.config.thresholds, strict=True
        )
    ]
    names = critic.config.erm.labels
    return (
        dict(zip(EMOTIONS, measured[: len(EMOTIONS)], strict=True)),
        dict(zip(names, measured[len(EMOTIONS) :], strict=True)),
    )


def correlations(read: Tensor, rated: Tensor) -> dict[str, float]:
    """Return Pearson's r of each rating, `[N, 3]` both; nan where one of them never changes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: float(np.corrcoef(own.numpy(), other.numpy())[0, 1])
            for name, own, other in zip(AFFECT, read.T, rated.T, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class CriticCost:
    """What a critic costs beside its language model."""

    parameters: int
    """Weights that are trained: all but those of the modulator that are 0."""
    parameter_share: float
    """The same over the language model's."""
    decode_ms: float
    """Milliseconds of one decode of the language model, median."""
    critic_ms: float
    """Milliseconds in which the critic reads its positions and makes the bias, median."""
    rows: int
    """Rows that were decoded at once."""


@torch.no_grad()
def measure_cost(
    critic: EmotionalCritic, llm: FrozenLLM, *, rows: int = 32, steps: int = 30
) -> CriticCost:
    """Measure the critic's share of writing a token, each part by itself.

    Args:
        critic: For the language model.
        llm: The language model.
        rows: B, rows decoded at once.
        steps: Tokens after which the medians are taken.
    """
    slots = llm.slots(rows, layers=critic.config.layers)
    output = slots.prefill(range(rows), [llm.encode_prompt("Tell me a story.")] * rows)
    state = critic.observe(output.states, critic.initial_state(rows), mask=output.mask)[2]
    decoding, feeling = [], []
    for _ in range(steps):
        began = _now(llm)
        output = slots.decode(output.logits.argmax(-1).cpu())
        candidates = output.logits.topk(CANDIDATES).indices
        decoded = _now(llm)
        signals, _, state = critic.observe(output.states, state)
        critic.bias(signals, candidates)
        decoding.append(decoded - began)
        feeling.append(_now(llm) - decoded)
    parameters = sum(
        int(weight.count_nonzero()) if name == "modulator.W" else weight.numel()
        for name, weight in critic.named_parameters()
    )
    return CriticCost(
        parameters=parameters,
        parameter_share=parameters / llm.num_parameters,
        decode_ms=1000 * float(np.median(decoding)),
        critic_ms=1000 * float(np.median(feeling)),
        rows=rows,
    )


def _now(llm: FrozenLLM) -> float:
    if llm.device.type == "cuda":
        torch.cuda.synchronize(llm.device)
    return time.perf_counter()


def _outputs(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    data: LabelledTexts,
    cache: Path,
    progress: Progress,
) -> Tensor:
    """Outputs `[N, O]` of the ERM after each text."""
    states = StateCache(
        cache,
        llm,
        data.texts,
        critic.config.erm.layers,
        progress=lambda done, total: progress(f"reading {data.source}", done, total, "texts"),
    )
    return predict(critic.erm, states, np.arange(len(states)))
