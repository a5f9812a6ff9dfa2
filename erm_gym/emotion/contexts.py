"""What a critic had read at the moments at which its fear is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.erm import EmotionalRewardModel

AT_ONCE = 64
"""Most contexts of a forward."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What was read so far."""

    states: Tensor
    """`[T, K, d]` bfloat16 on the CPU, what the ERM read; the last positions if there are many."""
    mean: Tensor
    """`[d]` float32 on the CPU, leaky mean of what the FearModule read."""


def contexts_after(
    turns: Sequence[Tensor], critic: EmotionalCritic, max_positions: int
) -> list[Context]:
    """Return the context after each turn of a conversation.

    Args:
        turns: Hidden states `[T, L, d]` at the critic's layers, as it read them: of what the user
            said, of what was replied, and so on by turns.
        critic: Who read them.
        max_positions: Positions that are kept of each context.

    Raises:
        ValueError: A shape is another one, or a number is not finite.
    """
    config = critic.config
    sizes = len(config.layers), config.hidden_size
    mean, begun = torch.zeros(1, config.hidden_size), torch.zeros(1, dtype=torch.bool)
    read: list[Tensor] = []
    contexts = []
    for number, turn in enumerate(turns):
        if turn.ndim != 3 or not len(turn) or turn.shape[1:] != sizes:
            raise ValueError(
                f"hidden states must be [T, {sizes[0]}, {sizes[1]}], at the layers "
                f"{config.layers}; got {tuple(turn.shape)}"
            )
        if not bool(torch.isfinite(turn).all()):
            raise ValueError("hidden states must be finite; they hold nan or infinity")
        for_erm, for_fear = critic.split_layers(turn.detach().cpu())
        read.append(for_erm.to(torch.bfloat16))
        # To the FearModule what the user says is one position, as in `EmotionalCritic.observe`.
        for position in for_fear.mean(0, keepdim=True) if number % 2 == 0 else for_fear:
            mean = critic.fear_module.pool(position[None], mean, begun)
            begun = torch.ones_like(begun)
        contexts.append(Context(states=torch.cat(read)[-max_positions:].clone(), mean=mean[0]))
    return contexts


def outputs_after(
    contexts: Sequence[Context], erm: EmotionalRewardModel, danger_net: nn.Module
) -> Tensor:
    """Return what is made of n contexts: the ERM's outputs, then the logit of danger.

    Args:
        contexts: At least one.
        erm: In eval mode, on any device.
        danger_net: On the same.

    Returns:
        `[n, O + 1]` on that device; see `EmotionalRewardModel.split` for the first O.
    """
    outputs = _by_length(contexts, erm, lambda *batch: erm.outputs_of_members(*batch).mean(0))
    return torch.cat([outputs, danger_net(_means(contexts).to(outputs.device))], -1)


@torch.no_grad()
def fear_after(contexts: Sequence[Context], critic: EmotionalCritic) -> Tensor:
    """Return the fear `[n]` in [0, 1] that the critic feels after n contexts, but for tonic fear.

    Args:
        contexts: At least one.
        critic: In eval mode.
    """

    def read(hidden: Tensor, mask: Tensor) -> Tensor:
        signals, _ = critic.erm(hidden, None, mask)
        fear: Tensor = signals.fear[:, -1]
        return fear

    fear = _by_length(contexts, critic.erm, read)
    return torch.maximum(fear, critic.fear_module.phasic(_means(contexts).to(fear.device)))


def _means(contexts: Sequence[Context]) -> Tensor:
    return torch.stack([context.mean for context in contexts])  # [n, d]


def _by_length(
    contexts: Sequence[Context],
    erm: EmotionalRewardModel,
    read: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Results of reading padded states `[m, T, K, d]` and a mask `[m, T]`, for all n contexts."""
    device = erm.heads.weight.device
    lengths = np.array([len(context.states) for context in contexts])
    order = np.argsort(lengths, kind="stable")
    results = []
    # Short and long ones apart, so that little is padding.
    for rows in np.array_split(order, max(min(2, len(order)), math.ceil(len(order) / AT_ONCE))):
        mask = torch.arange(int(lengths[rows].max())) < torch.from_numpy(lengths[rows])[:, None]
        hidden = nn.utils.rnn.pad_sequence([contexts[row].states for row in rows], batch_first=True)
        results.append(read(hidden.to(device), mask.to(device)))
    return torch.cat(results)[torch.from_numpy(np.argsort(order)).to(device)]
