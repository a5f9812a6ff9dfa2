"""Hyperparameters of the agents, and the ranges that they must be in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from erm_gym.llm.suggestion import suggest

Config = TypeVar("Config", "PPOConfig", "DQNConfig")


class AgentError(ValueError):
    """An agent's name or hyperparameter is unknown, or it does not fit its environment."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Hyperparameters of the PPO agents."""

    n_steps: int = 40
    """Steps per row between updates: two replies of the default length."""
    minibatches: int = 8
    """Minibatches per epoch."""
    n_epochs: int = 8
    """Passes over each batch."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    clip_range: float = 0.2
    """Clipping of the probability ratio."""
    gamma: float = 1.0
    """Discount per token: a reply is short and judged as a whole."""
    gae_lambda: float = 1.0
    """Lambda of generalised advantage estimation: at 1 the first word of a reply gets all of the
    credit for what becomes of it."""
    kl_weight: float = 0.02
    """Weight of the KL divergence from the frozen LM."""
    width: int = 128
    """Tanh units of the actor and of the value function, each."""
    rank: int = 64
    """Rank of the residual."""


@dataclass(frozen=True, kw_only=True)
class DQNConfig:
    """Hyperparameters of the DQN agents."""

    learning_rate: float = 1e-3
    """Adam's step size."""
    buffer_size: int = 16_384
    """Transitions that are remembered."""
    learning_starts: int = 640
    """Steps before the first update."""
    train_freq: int = 4
    """Steps per row between updates."""
    gradient_steps: int = 8
    """Updates each time."""
    batch_size: int = 128
    """Transitions per update."""
    gamma: float = 1.0
    """Discount per token."""
    target_update_interval: int = 640
    """Steps between copies to the target network."""
    exploration_fraction: float = 0.5
    """Share of the training over which exploration falls to its final rate."""
    exploration_final_eps: float = 0.1
    """Share of choices that are sampled from the LM at the end."""
    width: int = 128
    """Tanh units."""
    rank: int = 64
    """Rank of the residual."""
    prior_scale: float = 0.1
    """Return that one nat of the LM's log-probability is worth at first."""


def _count(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value <= 1.0


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0.0 < value < math.inf


def _not_negative(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value < math.inf


HYPERPARAMETER_RANGES: list[tuple[str, str, Callable[[Any], bool]]] = [
    *[
        (name, "a whole number of at least 1", _count)
        for name in (
            *("n_steps", "minibatches", "n_epochs", "width", "rank", "buffer_size"),
            *("train_freq", "gradient_steps", "batch_size", "target_update_interval"),
        )
    ],
    *[
        (name, "in [0, 1]", _share)
        for name in ("gamma", "gae_lambda", "exploration_fraction", "exploration_final_eps")
    ],
    *[
        (name, "above 0 and finite", _positive)
        for name in ("learning_rate", "clip_range", "prior_scale")
    ],
    *[(name, "at least 0 and finite", _not_negative) for name in ("kl_weight", "learning_starts")],
]
"""Field of a configuration, what is allowed in words, and the check."""


def checked_config(config: Config, changes: dict[str, Any]) -> Config:
    """A configuration with some fields changed.

    Args:
        config: The defaults.
        changes: New values by the name of the field.

    Raises:
        AgentError: If a name is unknown, which suggests the nearest, or a value out of range.
    """
    known = [field.name for field in fields(config)]
    for name in changes:
        if name not in known:
            raise AgentError(f"unknown hyperparameter {name!r}; {suggest(name, known)}")
    changed = replace(config, **changes)
    for name, allowed, valid in HYPERPARAMETER_RANGES:
        value = getattr(changed, name, None)
        if value is not None and not valid(value):
            raise AgentError(f"{name} must be {allowed}, got {value!r}")
    return changed
