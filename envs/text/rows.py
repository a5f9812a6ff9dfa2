"""Rows of text over one frozen LM: what each was asked, and what it has written so far."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from erm_gym.feedback import Episode, Prompt, PromptPool
from erm_gym.llm import FrozenLLM, SlotOutput, SlotSnapshot


@dataclass(frozen=True, kw_only=True)
class RowsSnapshot:
    """All that `TextRows` holds, independent of what happens to it later."""

    slots: SlotSnapshot
    """Keys and values of every row."""
    generators: list[dict[str, Any]]
    """State of every row's random generator."""
    arrays: dict[str, np.ndarray]
    """Copies of the arrays, by name."""
    prompts: list[Prompt]
    """What every row was asked."""


@dataclass(kw_only=True)
class _Arrays:
    """What is known of every row, in arrays whose first axis is the row."""

    seeds: np.ndarray  # [B] int64, of the user's reaction
    begun: np.ndarray  # [B] int64, episodes begun since the row was seeded
    lengths: np.ndarray  # [B] int64, tokens of the reply
    tokens: np.ndarray  # [B, L] int64
    logprobs: np.ndarray  # [B, L] float32, under the LM at temperature 1
    reply_hidden: np.ndarray  # [B, L, d] float32
    hidden: np.ndarray  # [B, d] float32, at the last token of prompt or reply
    prompt_hidden: np.ndarray  # [B, d] float32, mean over the prompt's own tokens


class TextRows:
    """B rows, each with a prompt, a reply in the making, and a random generator of its own.

    Attributes:
        llm: The frozen LM.
        state: Arrays over the rows.
        prompts: What every row was asked.
    """

    def __init__(
        self, llm: FrozenLLM, pool: PromptPool, num_rows: int, limit: int, *, sequential: bool
    ) -> None:
        """Tokenises the prompts; nothing is begun yet.

        Args:
            llm: The frozen LM.
            pool: What may be asked.
            num_rows: Number B of rows, >= 1.
            limit: Number L of tokens that a reply may have.
            sequential: Whether of B rows, row i is asked prompts i, i + B, ... and not random ones.
        """
        self.llm = llm
        self.pool = pool
        self.prompt_tokens = {prompt: llm.encode_prompt(prompt.text) for prompt in pool}
        self.prompts: list[Prompt] = [pool.prompts[0]] * num_rows
        self.state = _Arrays(
            seeds=np.zeros(num_rows, np.int64),
            begun=np.zeros(num_rows, np.int64),
            lengths=np.zeros(num_rows, np.int64),
            tokens=np.zeros((num_rows, limit), np.int64),
            logprobs=np.zeros((num_rows, limit), np.float32),
            reply_hidden=np.zeros((num_rows, limit, llm.hidden_size), np.float32),
            hidden=np.zeros((num_rows, llm.hidden_size), np.float32),
            prompt_hidden=np.zeros((num_rows, llm.hidden_size), np.float32),
        )
        self._sequential = sequential
        self._slots = llm.slots(num_rows)
        self._generators = [np.random.default_rng() for _ in range(num_rows)]

    def seed(self, row: int, seed: int | None) -> None:
        """Gives a row a new generator; one that nobody can know if the seed is None."""
        self._generators[row] = np.random.default_rng(seed)
        self.state.begun[row] = 0

    def begin(self, rows: np.ndarray) -> SlotOutput:
        """Draws prompts for rows and reads them; the LM's output is in the order of `rows`."""
        for row in rows.tolist():
            self.prompts[row] = self._next_prompt(row)
            self.state.seeds[row] = self._generators[row].integers(2**31)
        output = self._slots.prefill(
            rows.tolist(), [self.prompt_tokens[self.prompts[row]] for row in rows]
        )
        self.state.begun[rows] += 1
        self.state.lengths[rows] = 0
        self.state.hidden[rows] = output.hidden.float().cpu().numpy()
        self.state.prompt_hidden[rows] = output.pooled.float().cpu().numpy()
        return output

    def _next_prompt(self, row: int) -> Prompt:
        if not self._sequential:
            return self.pool.sample(self._generators[row])
        index = row + len(self.prompts) * int(self.state.begun[row])
        return self.pool.prompts[index % len(self.pool)]

    def append(self, tokens: np.ndarray, logprobs: np.ndarray, running: np.ndarray) -> SlotOutput:
        """Writes one token in every running row, in one forward.

        Args:
            tokens: `[B]` token ids; ignored where not running.
            logprobs: `[B]` their log-probabilities under the LM at temperature 1.
            running: `[B]` bool.

        Returns:
            The LM's output for the n running rows, in order.
        """
        state, rows = self.state, np.flatnonzero(running)
        output = self._slots.decode(torch.from_numpy(tokens), torch.from_numpy(running))
        if len(rows) < len(running):
            output = output.select(torch.from_numpy(rows).to(output.logits.device))
        state.tokens[rows, state.lengths[rows]] = tokens[rows]
        state.logprobs[rows, state.lengths[rows]] = logprobs[rows]
        state.hidden[rows] = output.hidden.float().cpu().numpy()
        state.reply_hidden[rows, state.lengths[rows]] = state.hidden[rows]
        state.lengths[rows] += 1
        return output

    def text(self, row: int) -> str:
        """The reply of a row so far."""
        return self.llm.decode(self.state.tokens[row, : self.state.lengths[row]].tolist())

    def episode(self, row: int, *, ended: bool) -> Episode:
        """What a user gets to see of a row whose reply is finished.

        Args:
            row: The row.
            ended: Whether its last token ends the turn; that one is no part of the text.
        """
        length = self.state.lengths[row]
        tokens = self.state.tokens[row, :length].copy()
        spoken = length - 1 if ended else length
        return Episode(
            prompt=self.prompts[row],
            reply=self.llm.decode(tokens[:spoken].tolist()),
            tokens=tokens,
            logprobs=self.state.logprobs[row, :length].copy(),
            hidden=self.state.reply_hidden[row, :spoken].copy(),
            llm_fingerprint=self.llm.fingerprint,
            seed=int(self.state.seeds[row]),
        )

    def mark(self) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Where the rows are, for `go_back`; valid until a row begins anew."""
        return self._slots.lengths.clone(), self.state.lengths.copy(), self.state.hidden.copy()

    def go_back(self, mark: tuple[torch.Tensor, np.ndarray, np.ndarray]) -> None:
        """Forgets what was appended since a mark; what is behind a row's length is never read."""
        self._slots.lengths, self.state.lengths, self.state.hidden = mark

    def snapshot(self) -> RowsSnapshot:
        """Copies everything."""
        return RowsSnapshot(
            slots=self._slots.snapshot(),
            generators=[copy.deepcopy(dict(one.bit_generator.state)) for one in self._generators],
            arrays={
                field.name: getattr(self.state, field.name).copy() for field in fields(_Arrays)
            },
            prompts=list(self.prompts),
        )

    def restore(self, snapshot: RowsSnapshot) -> None:
        """Goes back to a snapshot; it can be restored any number of times."""
        self._slots.restore(snapshot.slots)
        for generator, state in zip(self._generators, snapshot.generators, strict=True):
            generator.bit_generator.state = copy.deepcopy(state)
        for name, value in snapshot.arrays.items():
            setattr(self.state, name, value.copy())
        self.prompts = list(snapshot.prompts)

    def close(self) -> None:
        """Forgets the KV cache."""
        self._slots = self.llm.slots(1)
