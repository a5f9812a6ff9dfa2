"""Rows of text over one frozen LM: what each was asked, and what it has written so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from erm_gym.envs.text.rendering import Line
from erm_gym.feedback import Episode, Prompt, Turn
from erm_gym.feedback.prompt_cursor import CursorState, PromptCursor
from erm_gym.feedback.prompt_orders import PromptOrder
from erm_gym.llm import FrozenLLM, SlotOutput, SlotSnapshot, common_prefix
from erm_gym.llm.edits import Edits
from erm_gym.llm.text import token_texts


@dataclass(frozen=True, kw_only=True)
class EpisodeStart(CursorState):
    """All that an episode follows from, besides the actions: where the row's cursor was, and fear.

    How many episodes the row had begun before decides the prompt where the order is not random.
    """

    tonic_fear: float = 0.0
    """Tonic fear that was left of earlier episodes, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class WrittenTurn:
    """One finished turn of a conversation, with what it takes to show it."""

    turn: Turn
    """What was said, answered and thought of it."""
    tokens: np.ndarray
    """Token ids of the reply, `[T]` int64, the end of the turn included."""
    fear: np.ndarray
    """Total fear when each token was chosen, `[T]` float32 in [0, 1]; nan without a critic."""


@dataclass(frozen=True, kw_only=True)
class RowsSnapshot:
    """All that `TextRows` holds, independent of what happens to it later."""

    slots: SlotSnapshot
    """Keys and values of every row."""
    cursors: list[CursorState]
    """Every row's random generator, and where it is in its order of prompts."""
    arrays: dict[str, np.ndarray]
    """Copies of the arrays, by name."""
    prompts: list[Prompt]
    """What every row was asked."""
    said: list[str]
    """What the user said last."""
    turns: list[tuple[WrittenTurn, ...]]
    """The earlier turns of the conversation."""
    starts: list[EpisodeStart]
    """Where every episode started."""


@dataclass(frozen=True, kw_only=True)
class RowsMark:
    """Where rows are that only append to what they have."""

    slots: torch.Tensor
    """`[B]` int64, cached positions."""
    arrays: dict[str, np.ndarray]
    """Copies of the arrays that are not only appended to, by name."""
    said: list[str]
    """What the user said last."""
    turns: list[tuple[WrittenTurn, ...]]
    """The earlier turns of the conversation."""


@dataclass(kw_only=True)
class _Arrays:
    """What is known of every row, in arrays whose first axis is the row."""

    seeds: np.ndarray  # [B] int64, of the user's reaction
    lengths: np.ndarray  # [B] int64, tokens of the reply
    tokens: np.ndarray  # [B, L] int64
    logprobs: np.ndarray  # [B, L] float32, under the LM at temperature 1
    fear: np.ndarray  # [B, L] float32, total fear when the token was chosen, nan without a critic
    reply_hidden: np.ndarray  # [B, L, d] float32
    hidden: np.ndarray  # [B, d] float32, at the last token of prompt or reply
    prompt_hidden: np.ndarray  # [B, d] float32, mean over the prompt's own tokens
    token_states: np.ndarray  # [B, L, d] float32, of the last token, at the critic's layers


class TextRows:
    """B rows, each with a prompt, a reply in the making, and a random generator of its own.

    Attributes:
        llm: The frozen LM.
        state: Arrays over the rows.
        prompts: What every row was asked.
        said: What the user said last in every row.
        turns: The earlier turns of every row's conversation.
        starts: Where every row's episode started, but for its tonic fear.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        order: PromptOrder,
        num_rows: int,
        limit: int,
        *,
        layers: Sequence[int] = (),
    ) -> None:
        """Tokenises the prompts; nothing is begun yet.

        Args:
            llm: The frozen LM.
            order: What may be asked, and in which order.
            num_rows: Number B of rows, >= 1.
            limit: Number L of tokens that a reply may have.
            layers: Layers that the critic reads; none without a critic.
        """
        self.llm = llm
        pool = order.pool
        self.prompt_tokens = {prompt: llm.encode_prompt(prompt.text) for prompt in pool}
        self.prompts: list[Prompt] = [pool.prompts[0]] * num_rows
        self.said: list[str] = [pool.prompts[0].text] * num_rows
        self.turns: list[tuple[WrittenTurn, ...]] = [()] * num_rows
        self.starts: list[EpisodeStart] = [EpisodeStart(generator={}, begun=0)] * num_rows
        self.state = _Arrays(
            seeds=np.zeros(num_rows, np.int64),
            lengths=np.zeros(num_rows, np.int64),
            tokens=np.zeros((num_rows, limit), np.int64),
            logprobs=np.zeros((num_rows, limit), np.float32),
            fear=np.full((num_rows, limit), np.nan, np.float32),
            reply_hidden=np.zeros((num_rows, limit, llm.hidden_size), np.float32),
            hidden=np.zeros((num_rows, llm.hidden_size), np.float32),
            prompt_hidden=np.zeros((num_rows, llm.hidden_size), np.float32),
            token_states=np.zeros((num_rows, len(layers), llm.hidden_size), np.float32),
        )
        self._ends = np.array(sorted(llm.end_of_turn), np.int64)
        prompts = [*self.prompt_tokens.values()]
        self._slots = llm.slots(num_rows, prefix=common_prefix(prompts), layers=layers)
        self._slots.reserve(max(map(len, prompts)) + limit)
        self._cursors = [PromptCursor(order, row=row, rows=num_rows) for row in range(num_rows)]

    def seed(self, row: int, seed: int | None) -> None:
        """Gives a row a new generator; one that nobody can know if the seed is None."""
        self._cursors[row].seed(seed)

    def begin(self, rows: np.ndarray) -> SlotOutput:
        """Draws prompts for rows and reads them; the LM's output is in the order of `rows`."""
        for row in rows.tolist():
            cursor = self._cursors[row]
            self.starts[row] = EpisodeStart(**vars(cursor.snapshot()))
            self.prompts[row] = prompt = cursor.draw()
            self.said[row], self.turns[row] = prompt.text, ()
            self.state.seeds[row] = cursor.generator.integers(2**31)
        output = self._slots.prefill(
            rows.tolist(), [self.prompt_tokens[self.prompts[row]] for row in rows]
        )
        for row in rows.tolist():  # not if the prompt could not be read: then it comes again
            self._cursors[row].advance()
        self._begin_reply(rows, output)
        return output

    def abandon(self, rows: np.ndarray) -> None:
        """Empties rows whose prompt could not be read."""
        lengths = self._slots.lengths.clone()
        lengths[torch.from_numpy(rows)] = 0
        self._slots.rewind(lengths)

    def note_tonic_fear(self, rows: np.ndarray, tonic_fear: np.ndarray) -> None:
        """Adds to the starts of episodes what fear was left when they began, `[B]`."""
        for row in rows.tolist():
            self.starts[row] = replace(self.starts[row], tonic_fear=float(tonic_fear[row]))

    def start_as(self, row: int, start: EpisodeStart) -> None:
        """Puts a row's cursor where it was when an episode started, so that it begins again."""
        self._cursors[row].restore(start)

    def has_room(self, row: int, said: str) -> bool:
        """Whether what the user says next and one more reply fit into the LM's context."""
        return self.room(row) >= len(self._next_turn(row, said)) + self.state.tokens.shape[1]

    def go_on(self, rows: np.ndarray, said: list[str], turns: list[WrittenTurn]) -> SlotOutput:
        """The user says something more; the LM's output is in the order of `rows`.

        Args:
            rows: Numbers of the n rows, whose replies are finished.
            said: What the user says in each.
            turns: The turn that ended in each.
        """
        tokens = []
        for row, text, turn in zip(rows.tolist(), said, turns, strict=True):
            tokens.append(self._next_turn(row, text))
            self.said[row] = text
            self.turns[row] = (*self.turns[row], turn)
        output = self._slots.extend(rows.tolist(), tokens)
        self._begin_reply(rows, output)
        return output

    def _next_turn(self, row: int, said: str) -> list[int]:
        last = int(self.state.tokens[row, self.state.lengths[row] - 1])
        return self.llm.encode_next_turn(said, after=last)

    def _begin_reply(self, rows: np.ndarray, output: SlotOutput) -> None:
        self.state.lengths[rows] = 0
        self.state.hidden[rows] = output.hidden.float().cpu().numpy()
        self.state.prompt_hidden[rows] = output.pooled.float().cpu().numpy()

    def room(self, row: int) -> int:
        """Tokens that the LM's context still has room for."""
        return self.llm.context_length - int(self._slots.lengths[row])

    def append(
        self,
        tokens: np.ndarray,
        logprobs: np.ndarray,
        running: np.ndarray,
        fear: np.ndarray | None,
        edits: Edits | None = None,
    ) -> SlotOutput:
        """Writes one token in every running row, in one forward.

        Args:
            tokens: `[B]` token ids; ignored where not running.
            logprobs: `[B]` their log-probabilities under the LM at temperature 1.
            running: `[B]` bool.
            fear: `[B]` total fear when they were chosen; None without a critic.
            edits: What changes their hidden states, `[B, 1, d]`, by layer.

        Returns:
            The LM's output for the n running rows, in order.
        """
        state, rows = self.state, np.flatnonzero(running)
        output = self._slots.decode(torch.from_numpy(tokens), torch.from_numpy(running), edits)
        if len(rows) < len(running):
            output = output.select(torch.from_numpy(rows).to(output.logits.device))
        places = rows, state.lengths[rows]
        state.tokens[places] = tokens[rows]
        state.logprobs[places] = logprobs[rows]
        state.fear[places] = np.nan if fear is None else fear[rows]
        state.hidden[rows] = output.hidden.float().cpu().numpy()
        state.reply_hidden[places] = state.hidden[rows]
        state.token_states[rows] = output.states[:, 0].float().cpu().numpy()
        state.lengths[rows] += 1
        return output

    def endings(self, tokens: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which replies end with the tokens just written: by an end of turn, or by the limit."""
        ended = np.isin(tokens, self._ends) & running
        full = (self.state.lengths >= self.state.tokens.shape[1]) & running & ~ended
        return ended, full

    def text(self, row: int) -> str:
        """The reply of a row so far."""
        return self.llm.decode(self.state.tokens[row, : self.state.lengths[row]].tolist())

    def written(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `[T]` of a row's reply so far, and total fear `[T]` at each, copied."""
        length = self.state.lengths[row]
        return self.state.tokens[row, :length].copy(), self.state.fear[row, :length].copy()

    def felt(self, row: int) -> tuple[float, ...]:
        """Total fear at each token of a row's reply so far; nothing without a critic."""
        fear = self.state.fear[row, : self.state.lengths[row]]
        return () if np.isnan(fear).any() else tuple(fear.tolist())

    def episode(self, row: int, *, ended: bool, last_turn: bool = True) -> Episode:
        """What a user gets to see of a row whose reply is finished.

        Args:
            row: The row.
            ended: Whether its last token ends the turn; that one is no part of the text.
            last_turn: Whether the conversation ends with this reply in any case.
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
            turns=tuple(written.turn for written in self.turns[row]),
            last_turn=last_turn,
        )

    def lines(self, row: int) -> list[Line]:
        """What was said in a row since its episode began, with the fear at every token."""
        lines = []
        for earlier in self.turns[row]:
            lines.append(Line(speaker="user", tokens=(earlier.turn.said,)))
            lines.append(self._reply_line(earlier.tokens, earlier.fear))
        lines.append(Line(speaker="user", tokens=(self.said[row],)))
        lines.append(self._reply_line(*self.written(row)))
        return lines

    def _reply_line(self, tokens: np.ndarray, fear: np.ndarray) -> Line:
        texts = token_texts(tokens.tolist(), self.llm.decode(tokens.tolist()), self.llm)
        felt = tuple(None if np.isnan(one) else float(one) for one in fear)
        return Line(speaker="assistant", tokens=tuple(texts), fear=felt)

    def mark(self) -> RowsMark:
        """Where the rows are, for `go_back`; valid until a row begins anew."""
        return RowsMark(
            slots=self._slots.lengths.clone(),
            arrays={
                name: getattr(self.state, name).copy()
                for name in ("lengths", "hidden", "prompt_hidden", "token_states")
            },
            said=list(self.said),
            turns=list(self.turns),
        )

    def go_back(self, mark: RowsMark) -> None:
        """Forgets what was appended since a mark, and wipes it out of the cache."""
        self._slots.rewind(mark.slots)
        for name, value in mark.arrays.items():
            setattr(self.state, name, value)
        self.said, self.turns = mark.said, mark.turns

    def snapshot(self) -> RowsSnapshot:
        """Copies everything."""
        return RowsSnapshot(
            slots=self._slots.snapshot(),
            cursors=[cursor.snapshot() for cursor in self._cursors],
            arrays={
                field.name: getattr(self.state, field.name).copy() for field in fields(_Arrays)
            },
            prompts=list(self.prompts),
            said=list(self.said),
            turns=list(self.turns),
            starts=list(self.starts),
        )

    def restore(self, snapshot: RowsSnapshot) -> None:
        """Goes back to a snapshot; it can be restored any number of times."""
        self._slots.restore(snapshot.slots)
        for cursor, state in zip(self._cursors, snapshot.cursors, strict=True):
            cursor.restore(state)
        for name, value in snapshot.arrays.items():
            setattr(self.state, name, value.copy())
        self.prompts, self.said = list(snapshot.prompts), list(snapshot.said)
        self.turns, self.starts = list(snapshot.turns), list(snapshot.starts)

    def close(self) -> None:
        """Forgets the KV cache."""
        self._slots = self.llm.slots(1)
