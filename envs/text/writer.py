"""How an agent's actions become tokens of the rows: what the text environments differ in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from gymnasium import spaces

from erm_gym.envs.text.critic_rows import CriticRows
from erm_gym.envs.text.options import TextEnvOptions
from erm_gym.envs.text.rows import TextRows
from erm_gym.llm import SlotOutput

Options = TypeVar("Options", bound=TextEnvOptions)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one action wrote in each of B rows."""

    prior: np.ndarray
    """`[B]` float64, sum of log p_LM of the new tokens at the prior temperature, nats, <= 0."""
    ended: np.ndarray
    """`[B]` bool, whose reply ended its turn."""
    full: np.ndarray
    """`[B]` bool, whose reply reached the limit."""


class Writer(ABC, Generic[Options]):
    """Turns actions into tokens, and shows what an agent needs to choose them.

    Attributes:
        rows: The rows that are written.
        critic: The critic beside them, if there is one.
        options: Options of the environment.
        observation: Arrays `[B, ...]` that this writer adds to the observation, by name.
        hidden_state: Arrays and tensors that the next action needs and nobody observes, by name.
    """

    def __init__(self, rows: TextRows, critic: CriticRows | None, options: Options) -> None:
        """Makes room for what is shown.

        Args:
            rows: The rows that are written.
            critic: The critic beside them, if there is one.
            options: Options of the environment.

        Raises:
            OptionError: If an option does not fit the LM.
        """
        self.rows = rows
        self.critic = critic
        self.options = options
        self.observation: dict[str, np.ndarray] = {
            name: np.zeros((len(rows.prompts), *box.shape), box.dtype)  # type: ignore[misc]
            for name, box in self.observation_spaces().items()
        }
        self.hidden_state: dict[str, Any] = {}

    @abstractmethod
    def observation_spaces(self) -> dict[str, spaces.Space[Any]]:
        """What it adds to the observation of one row."""

    @abstractmethod
    def action_space(self) -> spaces.Space[Any]:
        """Actions of one row."""

    @abstractmethod
    def check(self, actions: Any) -> np.ndarray:
        """Actions in the shape and type that `write` wants.

        Raises:
            ValueError: If they have another shape or type, or are out of range.
        """

    @abstractmethod
    def look(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Takes in what the LM says in n rows.

        Args:
            rows: Numbers of the rows, `[n]`.
            output: The LM's output there, in their order.

        Raises:
            FloatingPointError: If the LM's next-token distribution of a row is broken.
        """

    @abstractmethod
    def write(self, actions: np.ndarray, running: np.ndarray) -> Written:
        """Acts in the running rows.

        The critic reads all new tokens but the last one of each row, which the environment hands
        it together with the user's feedback.

        Args:
            actions: One per row, as `check` returned them.
            running: `[B]` bool.
        """

    def require_finite(self, rows: np.ndarray, normaliser: torch.Tensor) -> None:
        """Raises if the LM's next-token distribution of a row is broken.

        Args:
            rows: Numbers of the n rows.
            normaliser: `[n, ...]` logsumexp of their logits.
        """
        broken = ~torch.isfinite(normaliser).flatten(1).all(dim=1)
        if bool(broken.any()):
            row = int(rows[int(broken.nonzero()[0])])
            raise FloatingPointError(
                f"the logits of {self.rows.llm.name} are not finite in row {row}, after "
                f"{self.rows.text(row)[-40:]!r}; try dtype='float32', or look for damaged weights"
            )


class TokenPerActionWriter(Writer[Options]):
    """A writer whose every action is one token."""

    @abstractmethod
    def choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The token of every action, and its log-probability under the LM and under the prior.

        All `[B]`: int64, float32 at temperature 1, and float64 at the prior temperature.
        """

    def write(self, actions: np.ndarray, running: np.ndarray) -> Written:
        """Writes the chosen tokens."""
        tokens, own, prior = self.choose(actions)
        impossible = running & np.isneginf(own)
        if impossible.any():
            row = int(impossible.argmax())
            raise ValueError(
                f"action {actions[row]} of row {row} is the token {tokens[row]}, to which "
                f"{self.rows.llm.name} gives no probability at all; choose another"
            )
        fear = None if self.critic is None else self.critic.total_fear
        output = self.rows.append(tokens, own, running, fear)
        self.look(np.flatnonzero(running), output)
        ended, full = self.rows.endings(tokens, running)
        return Written(prior=np.where(running, prior, 0.0), ended=ended, full=full)


def check_discrete(actions: Any, num_envs: int, limit: int, what: str) -> np.ndarray:
    """Actions `[B]` as int64.

    Args:
        actions: What an agent gave.
        num_envs: Number B of rows.
        limit: What they must be below.
        what: What an action is the number of, in words for the message.

    Raises:
        ValueError: If they have another shape or type, or are out of range.
    """
    array = np.asarray(actions)
    if array.shape != (num_envs,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"actions must be {num_envs} integers, got dtype {array.dtype} and shape {array.shape}"
        )
    outside = (array < 0) | (array >= limit)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"action {array[row]} of row {row} is no {what}: there are {limit}")
    return array.astype(np.int64)
