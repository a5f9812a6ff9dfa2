"""Training of affect pathways on rated texts, and of the feedback connections they steer by."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from erm_gym.llm.edits import Edits
from erm_gym.steering.feedback import FeedbackConnections, Mode
from erm_gym.steering.pathways import AffectPathways
from erm_gym.steering.reading import LEAST_TEXTS, RatedStates
from erm_gym.steering.signals import SteeringSignals
from erm_gym.steering.upper import LowerStates, UpperLayers

HELD_OUT = 0.1
"""Share of the texts that decide when to stop."""
PATIENCE = 8
BATCH = 128
FEEDBACK_RATE = 1e-2
FEEDBACK_TOKENS = 1024
"""Tokens of a batch."""

Progress = Callable[[int, int], None]


def fit_pathways(
    states: Tensor,
    ratings: Tensor,
    layer: int,
    *,
    seed: int,
    epochs: int = 60,
    learning_rate: float = 5e-4,
    weight_decay: float = 0.05,
) -> AffectPathways:
    """Trains pathways until the error on held-out texts stops falling.

    Args:
        states: `[N, d]` mean hidden states of texts.
        ratings: `[N, 2]` their valence and arousal, on any scale.
        layer: Number of the layer that the states are of.
        seed: Of the first weights, the texts that are held out, their order and the dropout. No
            global random state is changed.
        epochs: Most passes over the texts.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.

    Returns:
        The pathways as they were when the error was lowest, in evaluation mode.

    Raises:
        ValueError: If shapes do not fit, texts are too few, a number is not finite, or all texts
            are rated alike.
    """
    if states.ndim != 2 or ratings.shape != (len(states), 2):
        raise ValueError(
            f"states must be [N, d] and ratings [N, 2], got {tuple(states.shape)} and "
            f"{tuple(ratings.shape)}"
        )
    if len(states) < LEAST_TEXTS:
        raise ValueError(f"pathways need {LEAST_TEXTS} rated texts at least, got {len(states)}")
    if not bool(torch.isfinite(states).all() and torch.isfinite(ratings).all()):
        raise ValueError("a hidden state or a rating is not finite")
    if bool((ratings.std(dim=0) == 0.0).any()):
        raise ValueError("all texts have the same valence, or the same arousal")
    states, ratings = states.float(), ratings.float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pathways = AffectPathways(states.shape[1], layer)
        order = torch.randperm(len(states))
        held = math.ceil(HELD_OUT * len(states))
        outside, inside = order[:held], order[held:]
        pathways.state_mean.copy_(states[inside].mean(dim=0))
        pathways.state_sd.copy_(states[inside].std(dim=0) + 1e-4)
        pathways.rating_mean.copy_(ratings[inside].mean(dim=0))
        pathways.rating_sd.copy_(ratings[inside].std(dim=0))
        wanted = pathways.standardised(ratings)
        optimiser = torch.optim.AdamW(
            pathways.parameters(), lr=learning_rate, weight_decay=weight_decay
        )
        best, kept, waited = math.inf, copy.deepcopy(pathways.state_dict()), 0
        for _ in range(epochs):
            pathways.train()
            for rows in inside[torch.randperm(len(inside))].split(BATCH):
                loss = functional.mse_loss(pathways(states[rows]).ratings, wanted[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            pathways.eval()
            with torch.no_grad():
                error = functional.mse_loss(pathways(states[outside]).ratings, wanted[outside])
            if float(error) < best:
                best, kept, waited = float(error), copy.deepcopy(pathways.state_dict()), 0
            else:
                waited += 1
            if waited == PATIENCE:
                break
    pathways.load_state_dict(kept)
    with torch.no_grad():
        predicted = pathways(states[inside]).ratings
    pathways.predicted_mean.copy_(predicted.mean(dim=0))
    pathways.predicted_sd.copy_(predicted.std(dim=0))
    pathways.whiten(states[inside])
    return pathways.eval().requires_grad_(False)


def fit_feedback(
    pathways: AffectPathways,
    data: RatedStates,
    signals: Mapping[str, SteeringSignals],
    *,
    layers: Sequence[int],
    mode: Mode = "multiplicative",
    seed: int,
    epochs: int = 3,
    progress: Progress = lambda done, total: None,
) -> FeedbackConnections:
    """Trains feedback connections: what the pathways felt at a first pass is to help at a second.

    Each text is steered as it will be in use: by the signal of the bin that the pathways put it
    into, at strength 1. The pathways, layers and grid that take part are drawn anew for every
    batch, so that none of them learns to lean on another one that may later be left out. The LM
    and the pathways stay as they are.

    Args:
        pathways: Trained pathways, which read `upper.last`.
        data: Rated texts, of which those are taken that are kept for this.
        signals: Of each grid.
        layers: Numbers of the layers that are steered.
        mode: How the modulation acts.
        seed: Of the first weights, the order of the texts and what takes part.
        epochs: Passes over the texts.
        progress: Told how many batches are done, of how many.

    Raises:
        ValueError: If the pathways read another layer.
    """
    upper, lower = data.upper, data.lower
    if pathways.layer != upper.last:
        raise ValueError(
            f"the pathways read layer {pathways.layer} and the blocks end at {upper.last}"
        )
    hidden_size = lower.rows[0].shape[1]
    made = FeedbackConnections(hidden_size, layers, mode=mode, seed=seed).to(upper.device)
    pathways = pathways.to(upper.device)
    with torch.no_grad():
        states, deviations = _first_pass(upper, lower, layers)
        made.deviations.copy_(deviations)
        seen = pathways.spread(pathways(states).ratings)  # [N, 2]
        felt = torch.stack([one.of(one.grid.of(seen)) for one in signals.values()])
        wanted = pathways.standardised(data.lower_ratings)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(made.parameters(), lr=FEEDBACK_RATE)
    batches = list(lower.batches(FEEDBACK_TOKENS))
    for epoch in range(epochs):
        for done, number in enumerate(torch.randperm(len(batches), generator=generator).tolist()):
            rows = batches[number]
            part = _some(2, len(rows), generator)  # [n, 2] pathways that steer each text
            where = _some(len(layers), 1, generator)[0]  # [L] layers that are steered
            grid = int(torch.randint(len(felt), (1,), generator=generator))
            own = felt[grid, rows] * part[..., None]
            strength = torch.ones(len(rows))
            edits = {
                layer: made.edit(layer, own, strength)
                for layer, chosen in zip(layers, where.tolist(), strict=True)
                if chosen
            }
            predicted = pathways(upper.pooled(lower, rows, edits)).ratings
            loss = functional.mse_loss(predicted, wanted[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            progress(epoch * len(batches) + done + 1, epochs * len(batches))
    return made.eval().requires_grad_(False)


def _some(count: int, rows: int, generator: torch.Generator) -> Tensor:
    """For each row, a random part of `count` things that is not empty: `[rows, count]` of 0, 1."""
    number = torch.randint(1, 2**count, (rows, 1), generator=generator)
    return (number >> torch.arange(count)) & 1


def _first_pass(
    upper: UpperLayers, lower: LowerStates, layers: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Unsteered mean states `[N, d]`, and the deviations `[L, d]` of the layers' token states."""
    states = torch.empty(len(lower.rows), lower.rows[0].shape[1])
    seen: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for rows in lower.batches():
        counts = torch.tensor([len(lower.rows[row]) - 1 for row in rows])
        edits: Edits = {layer: _look(seen[layer], counts) for layer in layers}
        states[rows] = upper.pooled(lower, rows, edits).float().cpu()
    deviations = []
    for layer in layers:
        total, square, count = torch.stack(seen[layer]).sum(dim=0)  # [d] each
        deviations.append((square / count - (total / count) ** 2).clamp(min=1e-8).sqrt())
    return states, torch.stack(deviations)


def _look(seen: list[Tensor], counts: Tensor) -> Callable[[Tensor], Tensor]:
    """An edit that changes nothing, and notes sum, sum of squares and number of tokens."""

    def look(states: Tensor) -> Tensor:
        inside = torch.arange(states.shape[1]) < counts[:, None]
        own = states[inside.to(states.device)].double().cpu()  # [tokens, d]
        count = torch.full_like(own[0], len(own))
        seen.append(torch.stack((own.sum(dim=0), (own**2).sum(dim=0), count)).float())
        return states

    return look
