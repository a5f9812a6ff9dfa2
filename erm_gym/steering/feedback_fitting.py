"""Training of the feedback connections: what was felt at a first pass helps at a second one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from erm_gym.llm.edits import Edits
from erm_gym.steering.feedback import FeedbackConnections, Mode
from erm_gym.steering.pathways import AffectPathways
from erm_gym.steering.reading import Progress, RatedStates
from erm_gym.steering.signals import SteeringSignals
from erm_gym.steering.upper import LowerStates, UpperLayers

HELD_OUT = 0.2
"""Share of the texts that decide when to stop."""
PATIENCE = 2
LEARNING_RATE = 1e-2
BATCH_TOKENS = 1024


def fit_feedback(
    pathways: AffectPathways,
    data: RatedStates,
    signals: Mapping[str, SteeringSignals],
    *,
    layers: Sequence[int],
    mode: Mode = "multiplicative",
    seed: int,
    epochs: int = 10,
    progress: Progress = lambda done, total: None,
) -> FeedbackConnections:
    """Trains feedback connections: what the pathways felt at a first pass is to help at a second.

    Each text is steered as it will be in use: by the signal of the bin that the pathways put it
    into, at strength 1. The pathways, layers and grid that take part are drawn anew for every
    batch, so that none of them learns to lean on another one that may later be left out. Training
    ends when the error on held-out texts stops falling: it soon rises, as these are many weights
    for few texts. It need not fall below that of the first pass; both are kept in `errors`. The LM
    and the pathways stay as they are.

    Args:
        pathways: Trained pathways, which read `upper.last`.
        data: Rated texts, of which those are taken that are kept for this.
        signals: Of each grid.
        layers: Numbers of the layers that are steered.
        mode: How the modulation acts.
        seed: Of the first weights, the texts that are held out, their order and what takes part.
        epochs: Most passes over the texts.
        progress: Told how many batches are done, of how many.

    Raises:
        ValueError: If the pathways read another layer.
    """
    upper, lower = data.upper, data.lower
    if pathways.layer != upper.last:
        raise ValueError(
            f"the pathways read layer {pathways.layer} and the blocks end at {upper.last}"
        )
    made = FeedbackConnections(lower.rows[0].shape[1], layers, mode=mode, seed=seed)
    made, pathways = made.to(upper.device), pathways.to(upper.device)
    with torch.no_grad():
        states, deviations = _first_pass(upper, lower, layers)
        made.deviations.copy_(deviations)
        seen = pathways.spread(pathways(states).ratings)  # [N, 2]
    felt = torch.stack([one.of(one.grid.of(seen)) for one in signals.values()])
    wanted = pathways.standardised(data.lower_ratings)
    second = _SecondPass(pathways=pathways, data=data, made=made, felt=felt, wanted=wanted)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(made.parameters(), lr=LEARNING_RATE)
    order = torch.randperm(len(lower.rows), generator=generator)
    held = math.ceil(HELD_OUT * len(order))
    outside, inside = (part.tolist() for part in (order[:held], order[held:]))
    batches = list(lower.batches(BATCH_TOKENS, inside))
    made.errors[0] = second.error(outside, [])
    best, kept, waited = math.inf, copy.deepcopy(made.state_dict()), 0
    for epoch in range(epochs):
        for done, number in enumerate(torch.randperm(len(batches), generator=generator).tolist()):
            optimiser.zero_grad()
            second.lesson(batches[number], generator).backward()
            optimiser.step()
            progress(epoch * len(batches) + done + 1, epochs * len(batches))
        made.errors[1] = second.error(outside, made.layers)
        if float(made.errors[1]) < best:
            best, kept, waited = float(made.errors[1]), copy.deepcopy(made.state_dict()), 0
        else:
            waited += 1
        if waited == PATIENCE:
            break
    progress(epochs * len(batches), epochs * len(batches))
    made.load_state_dict(kept)
    return made.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _SecondPass:
    """What the pathways read in N texts while connections steer them."""

    pathways: AffectPathways
    data: RatedStates
    made: FeedbackConnections
    felt: Tensor
    """`[grids, N, 2, 128]` signal of each text's bin, by grid."""
    wanted: Tensor
    """`[N, 2]` standardised ratings."""

    def loss(self, rows: Sequence[int], signals: Tensor, layers: Sequence[int]) -> Tensor:
        """Mean squared error of n texts, steered at some layers by signals `[n, 2, 128]`."""
        strength = torch.ones(len(rows))
        edits = {layer: self.made.edit(layer, signals, strength) for layer in layers}
        states = self.data.upper.pooled(self.data.lower, rows, edits)
        return functional.mse_loss(self.pathways(states).ratings, self.wanted[rows])

    def lesson(self, rows: Sequence[int], generator: torch.Generator) -> Tensor:
        """The loss under pathways of each text, layers and a grid that are drawn."""
        part = _some(2, len(rows), generator)  # [n, 2]
        where = _some(len(self.made.layers), 1, generator)[0].tolist()
        grid = int(torch.randint(len(self.felt), (1,), generator=generator))
        layers = [layer for layer, chosen in zip(self.made.layers, where, strict=True) if chosen]
        return self.loss(rows, self.felt[grid, rows] * part[..., None], layers)

    @torch.no_grad()
    def error(self, rows: Sequence[int], layers: Sequence[int]) -> float:
        """The loss under both pathways at some layers, the mean over the grids."""
        total = 0.0
        for batch in self.data.lower.batches(rows=rows):
            for signals in self.felt[:, batch]:
                total += float(self.loss(batch, signals, layers)) * len(batch)
        return total / (len(self.felt) * len(rows))


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
