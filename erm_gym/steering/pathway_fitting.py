"""Training of affect pathways on rated texts."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn import functional

from erm_gym.steering.pathways import AffectPathways
from erm_gym.steering.reading import LEAST_TEXTS

HELD_OUT = 0.1
"""Share of the texts that decide when to stop."""
PATIENCE = 8
BATCH = 128


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
