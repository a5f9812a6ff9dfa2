"""From the labels that people gave to texts to the six emotions of the critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.emotion.signals import EMOTIONS

GOEMOTIONS = (
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
)
"""The labels of GoEmotions by number. Source: Demszky et al. (2020), arXiv:2005.00547."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Which labels of a text stand for an emotion, and which for its opposite."""

    emotion: str
    """One of `EMOTIONS`."""
    signs: tuple[str, ...]
    """Labels of which one is enough for the emotion."""
    opposites: tuple[str, ...] = ()
    """Labels of the opposite. Where there are any, a text that has neither, or both, says nothing
    about the emotion and is left out; else every text without a sign is an example against it."""


ADAPTERS = (
    Adapter(emotion="fear", signs=("fear", "nervousness")),
    Adapter(emotion="curiosity", signs=("curiosity",)),
    Adapter(emotion="anger", signs=("anger", "annoyance", "disgust")),
    Adapter(emotion="joy", signs=("joy", "amusement", "excitement", "love", "gratitude")),
    Adapter(emotion="anxiety", signs=("nervousness",)),
    Adapter(
        emotion="confidence",
        signs=("approval", "optimism", "pride"),
        opposites=("confusion", "nervousness", "fear", "embarrassment"),
    ),
)
"""How the 28 labels become the six emotions; our own choice, for these reasons.

- **Fear** acts at once and takes both the alarm of *fear* and the unease of *nervousness*: few
  raters told them apart, and both call for caution.
- **Anxiety** is the lasting side of fear: *nervousness* alone, which is about what may still come.
  The label only says what one text sounds like; that anxiety lasts is the work of the tonic state
  and of tonic fear.
- **Anger** seeks another way, so what is merely annoying or repels counts as well.
- **Joy** takes what rewards: *joy, amusement, excitement, love, gratitude*; *admiration* and
  *caring* are about others and stay out.
- **Confidence** sets the temperature around a neutral 0.5. It is therefore no share of texts but a
  balance: agreeing, hoping or proud against confused, nervous, afraid or embarrassed. A text with
  neither side, or with both, says nothing.
"""


def label_matrix(numbers: list[list[int]]) -> Tensor:
    """Lists of label numbers as `[N, 28]` float32, 1 where a text has the label."""
    matrix = torch.zeros(len(numbers), len(GOEMOTIONS))
    for row, own in enumerate(numbers):
        matrix[row, own] = 1.0
    return matrix


def emotion_targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the labels say about the six emotions.

    Args:
        labels: `[N, 28]` in the order of `GOEMOTIONS`, 1 where a text has the label.

    Returns:
        Targets `[N, 6]` float32, 0 or 1, and which of them are known, `[N, 6]` bool.
    """
    targets = torch.zeros(len(labels), len(EMOTIONS))
    known = torch.ones(len(labels), len(EMOTIONS), dtype=torch.bool)
    for adapter in ADAPTERS:
        column = EMOTIONS.index(adapter.emotion)
        felt = has_any(labels, adapter.signs)
        targets[:, column] = felt.float()
        if adapter.opposites:
            known[:, column] = felt ^ has_any(labels, adapter.opposites)
    return targets, known


def all_targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the labels say about the six emotions, then the labels themselves.

    Args:
        labels: `[N, 28]` in the order of `GOEMOTIONS`, 1 where a text has the label.

    Returns:
        Targets `[N, 6 + 28]` float32, 0 or 1, and which of them are known, bool.
    """
    targets, known = emotion_targets(labels)
    return (
        torch.cat([targets, labels], 1),
        torch.cat([known, torch.ones_like(labels, dtype=torch.bool)], 1),
    )


def has_any(labels: Tensor, names: tuple[str, ...]) -> Tensor:
    """Which texts have at least one of some labels, `[N]` bool, of labels `[N, 28]`."""
    return labels[:, [GOEMOTIONS.index(name) for name in names]].bool().any(dim=1)
