"""What a critic reads in rows of text, kept until the user's feedback says what it led to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from erm_gym.emotion.online import OnlineCriticTrainer
from erm_gym.llm import SlotOutput


@dataclass(frozen=True)
class Heard:
    """What was read in one row since its episode began; hidden states at the critic's layers."""

    turns: tuple[torch.Tensor, ...] = ()
    """`[T, L, d]` each: what was said, what was replied, and so on."""
    reply: tuple[torch.Tensor, ...] = ()
    """`[L, d]` each: the tokens of the reply that is being written."""


class OnlineRows:
    """Hands the replies of B rows, and how they were received, to a trainer.

    Attributes:
        trainer: Who learns from them.
        heard: What was read in every row; never written into, only replaced.
    """

    def __init__(self, trainer: OnlineCriticTrainer, num_rows: int) -> None:
        """Has heard nothing yet.

        Args:
            trainer: Who learns.
            num_rows: Number B of rows.
        """
        self.trainer = trainer
        self.heard: tuple[Heard, ...] = (Heard(),) * num_rows
        self._due: list[tuple[tuple[torch.Tensor, ...], float]] = []

    def begin(self, rows: np.ndarray) -> None:
        """Forgets what was read in rows that begin new episodes."""
        self._replace({row: Heard() for row in rows.tolist()})

    def hear(self, rows: np.ndarray, said: SlotOutput) -> None:
        """Keeps what the user says.

        Args:
            rows: Numbers of the n rows.
            said: What the LM made of it, in their order.
        """
        self._replace(
            {
                row: Heard(turns=(*self.heard[row].turns, states[:count]))
                for row, states, count in zip(
                    rows.tolist(), said.states, said.counts.tolist(), strict=True
                )
            }
        )

    def write(
        self,
        rows: np.ndarray,
        states: torch.Tensor,
        feedback: torch.Tensor | None,
        over: np.ndarray,
    ) -> None:
        """Keeps one more token of replies, and those that got feedback for `learn`.

        Args:
            rows: Numbers of the n rows.
            states: `[n, L, d]`.
            feedback: `[n]` scores in [-1, 1] of the replies that end here and get feedback, nan
                elsewhere; None for nowhere.
            over: `[n]` bool, whose reply ends here.
        """
        scores = [float("nan")] * len(rows) if feedback is None else feedback.tolist()
        changed = {}
        for row, state, score, ends in zip(rows.tolist(), states, scores, over, strict=True):
            heard = self.heard[row]
            reply = (*heard.reply, state)
            if not ends:
                changed[row] = Heard(turns=heard.turns, reply=reply)
            else:
                changed[row] = Heard(turns=(*heard.turns, torch.stack(reply)))
                if not np.isnan(score):  # of a silent user there is nothing to learn
                    self._due.append((changed[row].turns, score))
        self._replace(changed)

    def learn(self) -> None:
        """Learns from the replies that were finished since it was last called.

        Raises:
            FloatingPointError: The critic could not learn from them; they are forgotten.
        """
        due, self._due = self._due, []
        for turns, score in due:
            self.trainer.record(turns, score)
        if due:
            self.trainer.update()

    def restore(self, heard: tuple[Heard, ...]) -> None:
        """Goes back to what was heard at some time; what was learned since is kept."""
        self.heard, self._due = heard, []

    def _replace(self, changed: dict[int, Heard]) -> None:
        self.heard = tuple(changed.get(row, old) for row, old in enumerate(self.heard))
