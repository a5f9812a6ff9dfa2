"""What is seen of rows of text, and what is due to them, besides the texts themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from erm_gym.envs.text.critic_rows import CriticRows, CriticSnapshot
from erm_gym.envs.text.writer import Writer

Observation = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ViewSnapshot:
    """All that `View` holds, independent of what happens to it later."""

    own: dict[str, np.ndarray]
    """The observation that all text environments share, by name."""
    terms: dict[str, np.ndarray]
    """Parts of the return so far, by name."""
    done: np.ndarray
    """`[B]` bool, rows that wait for a reset."""
    shown: dict[str, np.ndarray]
    """What the writer adds to the observation, by name."""
    hidden: dict[str, Any]
    """What the writer needs for the next action, by name."""
    critic: CriticSnapshot | None
    """What the critic feels and remembers."""


class View:
    """What an agent sees of B rows, and what their episodes have earned so far.

    Attributes:
        own: Arrays `[B, ...]` of the observation that all text environments share, by name.
        terms: Parts of the return of every row's episode so far, `[B]` each, by name.
        done: `[B]` bool, rows that wait for a reset.
    """

    def __init__(
        self,
        num_rows: int,
        common: dict[str, spaces.Space[Any]],
        writer: Writer[Any],
        critic: CriticRows | None,
    ) -> None:
        """Sees nothing yet.

        Args:
            num_rows: Number B of rows.
            common: Spaces of `own`, of one row.
            writer: Who adds to the observation what its actions need.
            critic: Who adds what it feels, if there is one.
        """
        self.own: Observation = {
            name: np.zeros((num_rows, *box.shape), box.dtype)  # type: ignore[misc]
            for name, box in common.items()
        }
        self.terms = {name: np.zeros(num_rows) for name in ("feedback", "prior")}
        self.done = np.zeros(num_rows, bool)
        self._writer = writer
        self._critic = critic

    def observations(self) -> Observation:
        """The observations of all rows, copied."""
        return {name: value.copy() for name, value in self._all().items()}

    def observation(self, row: int) -> Observation:
        """The observation of one row, copied."""
        return {name: value[row].copy() for name, value in self._all().items()}

    def _all(self) -> Observation:
        felt = {} if self._critic is None else self._critic.felt
        return {**self.own, **self._writer.observation, **felt}

    def snapshot(self) -> ViewSnapshot:
        """Copies everything."""
        return ViewSnapshot(
            own=_copied(self.own),
            terms=_copied(self.terms),
            done=self.done.copy(),
            shown=_copied(self._writer.observation),
            hidden=_copied(self._writer.hidden_state),
            critic=None if self._critic is None else self._critic.snapshot(),
        )

    def restore(self, snapshot: ViewSnapshot) -> None:
        """Goes back to a snapshot; it can be restored any number of times."""
        self.own, self.terms = _copied(snapshot.own), _copied(snapshot.terms)
        self.done = snapshot.done.copy()
        self._writer.observation = _copied(snapshot.shown)
        self._writer.hidden_state = _copied(snapshot.hidden)
        if self._critic is not None and snapshot.critic is not None:
            self._critic.restore(snapshot.critic)


def _copied(parts: dict[str, Any]) -> dict[str, Any]:
    """Arrays, copied; tensors are never written into and stay the same."""
    return {
        name: part.copy() if isinstance(part, np.ndarray) else part for name, part in parts.items()
    }
