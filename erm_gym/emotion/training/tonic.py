"""Training of the ERM's tonic state: a slow mean of what was felt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from erm_gym.emotion.erm import EmotionalRewardModel
from erm_gym.emotion.signals import EMOTIONS
from erm_gym.emotion.training.splits import split_rows
from erm_gym.emotion.training.state_cache import StateCache

RATE = 0.05
"""Weight of each new position in the slow mean: half of what was felt is gone after 14 positions,
about a sentence."""
STREAMS, POSITIONS = 256, 120
"""Streams of texts, one behind the other, and how many positions of them are learned from."""
STEPS = 400
BATCH = 64
LEARNING_RATE = 3e-3


@dataclass(frozen=True, kw_only=True)
class TonicReport:
    """How well the tonic state follows the slow mean, on texts that it did not learn from."""

    error: float
    """Root mean squared error, over emotions and positions."""
    deviation: float
    """Standard deviation of the slow mean itself, the error of always guessing its average."""


def slow_means(phasic: Tensor, rate: float = RATE) -> Tensor:
    """Return what the tonic emotions should be: an exponential moving average that starts at 0.

    Anxiety is tonic fear: it follows whichever is larger at each position, fear or anxiety.

    Args:
        phasic: `[B, T, 6]` in [0, 1].
        rate: Weight of each new position, in (0, 1].

    Returns:
        `[B, T, 6]` in [0, 1].
    """
    felt = phasic.clone()
    fear, anxiety = EMOTIONS.index("fear"), EMOTIONS.index("anxiety")
    felt[..., anxiety] = torch.maximum(phasic[..., fear], phasic[..., anxiety])
    mean, means = torch.zeros_like(felt[:, 0]), []
    for position in range(felt.shape[1]):
        mean = torch.lerp(mean, felt[:, position], rate)
        means.append(mean)
    return torch.stack(means, 1)


def train_tonic(
    erm: EmotionalRewardModel, states: StateCache, rows: np.ndarray, *, seed: int
) -> TonicReport:
    """Train the GRU of a calibrated ERM to keep slow means; touch nothing else.

    The seed gives the tonic state no target of its own. Ours is the moving average of the phasic
    values over texts read one behind the other, so that what is tonic is what has lasted.

    Args:
        erm: Its GRU is trained in place.
        states: Cached hidden states.
        rows: Numbers of the texts.
        seed: Decides the streams and the batches.

    Returns:
        How well it does on streams of a fifth of the texts.
    """
    rng = np.random.default_rng(seed)
    held_out = max(1, STREAMS // 5)
    learned, kept = split_rows(len(rows), 0.2, seed)
    texts = [rows[kept]] * held_out + [rows[learned]] * (STREAMS - held_out)
    phasic = torch.stack([_stream(erm, states, own, rng) for own in texts])
    wanted = slow_means(phasic)
    _start(erm.tonic)
    optimizer = torch.optim.Adam(erm.tonic.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        batch = torch.from_numpy(rng.integers(held_out, STREAMS, BATCH))
        error = _error(erm, phasic[batch], wanted[batch])
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(erm.tonic.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        error = _error(erm, phasic[:held_out], wanted[:held_out])
    return TonicReport(
        error=float(error.sqrt()), deviation=float(wanted[:held_out].std((0, 1)).mean())
    )


@torch.no_grad()
def _start(gru: nn.GRUCell) -> None:
    """Starts nearly where it has to go: h <- (1 - rate) h + rate tanh(2 x - 1)."""
    for parameter in gru.parameters():
        parameter.zero_()
    gru.bias_ih[len(EMOTIONS) : 2 * len(EMOTIONS)] = math.log((1.0 - RATE) / RATE)  # update gate
    gru.weight_ih[2 * len(EMOTIONS) :] = 2.0 * torch.eye(len(EMOTIONS))
    gru.bias_ih[2 * len(EMOTIONS) :] = -1.0


def _error(erm: EmotionalRewardModel, phasic: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of the tonic state over streams `[B, T, 6]`."""
    tonic, errors = torch.zeros_like(phasic[:, 0]), []
    for position in range(phasic.shape[1]):
        tonic = erm.next_tonic(phasic[:, position], tonic)
        errors.append((tonic - wanted[:, position]).square().mean())
    return torch.stack(errors).mean()


@torch.no_grad()
def _stream(
    erm: EmotionalRewardModel, states: StateCache, rows: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Phasic values `[POSITIONS, 6]` of texts one behind the other, each read by itself."""
    parts: list[Tensor] = []
    while sum(map(len, parts)) < POSITIONS:
        hidden, mask = states.batch(rng.choice(rows, 4).tolist())
        device = erm.heads.weight.device
        phasic = erm.read_off(erm.pools(hidden.to(device), mask=mask.to(device))).emotions
        parts += [own[there] for own, there in zip(phasic, mask.to(device), strict=True)]
    return torch.cat(parts)[:POSITIONS]
