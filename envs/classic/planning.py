"""Value iteration, and what a policy is worth, where the transition model is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TIE_PRICE = 1e-6
"""What a step costs in `likeliest_policy`, in units of probability: less than any difference that
matters, enough to prefer the shorter of two equally likely ways."""


class Model(NamedTuple):
    """A finite Markov decision process."""

    transition: np.ndarray
    """`[S, A, S]`, probability of the next state; a terminal state leads to itself."""
    reward: np.ndarray
    """`[S, A]`, expected reward of the step; 0 in terminal states."""
    terminal: np.ndarray
    """`[S]` bool, where an episode has ended."""


def optimal_values(model: Model, discount: float, *, tolerance: float = 1e-10) -> np.ndarray:
    """Optimal action values by value iteration.

    Args:
        model: The process.
        discount: In [0, 1]; at 1 every optimal policy must end.
        tolerance: Greatest change of a value in the last sweep, > 0.

    Returns:
        `[S, A]` float64.

    Raises:
        ValueError: If the discount is out of range.

    Source: Bellman 1957.
    """
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount must be in [0, 1], got {discount}")
    values = np.zeros(len(model.terminal))
    while True:
        action_values = model.reward + discount * model.transition @ values  # [S, A]
        improved = action_values.max(axis=1)
        if np.abs(improved - values).max() < tolerance:
            found: np.ndarray = action_values
            return found
        values = improved


def greedy_policy(action_values: np.ndarray) -> np.ndarray:
    """The policy that takes the first best action.

    Args:
        action_values: `[S, A]`.

    Returns:
        `[S, A]`, probabilities: one 1 in every row.
    """
    return np.eye(action_values.shape[1])[action_values.argmax(axis=1)]


def expected_return(model: Model, policy: np.ndarray, start: int, horizon: int) -> float:
    """Undiscounted return of a policy.

    Args:
        model: The process.
        policy: `[S, A]`, probability of each action.
        start: State in which episodes begin.
        horizon: Steps after which an episode is cut off, >= 1.
    """
    transition, reward = _followed(model, policy)
    values = np.zeros(len(reward))
    for _ in range(horizon):
        values = reward + transition @ values
    return float(values[start])


def probability_of(
    model: Model, policy: np.ndarray, start: int, horizon: int, end: np.ndarray
) -> float:
    """How probable it is that a policy ends an episode in certain states.

    Args:
        model: The process.
        policy: `[S, A]`, probability of each action.
        start: State in which episodes begin.
        horizon: Steps after which an episode is cut off, >= 1.
        end: `[S]` bool, the terminal states that are asked about.

    Returns:
        In [0, 1].
    """
    transition, _ = _followed(model, policy)
    values = end.astype(float)
    for _ in range(horizon):
        values = transition @ values
    return float(values[start])


def likeliest_policy(model: Model, end: np.ndarray) -> np.ndarray:
    """The policy that is likeliest to end in certain states, and soonest where ways are equal.

    Args:
        model: The process.
        end: `[S]` bool, terminal states. They must be the only ones that are wanted: a policy that
            never ends does not count as one that avoids the others.

    Returns:
        `[S, A]`, probabilities: one 1 in every row.
    """
    arriving = model.transition @ end.astype(float) - TIE_PRICE  # [S, A]
    reward = np.where(model.terminal[:, None], 0.0, arriving)
    return greedy_policy(optimal_values(model._replace(reward=reward), discount=1.0))


def _followed(model: Model, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transitions `[S, S]` and rewards `[S]` under a policy."""
    transition = np.einsum("sa,sat->st", policy, model.transition)
    return transition, (policy * model.reward).sum(axis=1)
