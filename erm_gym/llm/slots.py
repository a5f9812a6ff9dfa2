"""Slots: one KV cache that holds independent rows of different lengths.

A row is filled by `prefill`, goes on by `decode` together with all others in one batched forward
or by `extend` with several tokens at once, and is filled again when its text is finished, while
the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from erm_gym.llm.edits import Edits
from erm_gym.llm.kv_cache import Forward, ForwardOutput, KVCache, Layers, Step, nbytes
from erm_gym.llm.prefills import Prefill, PrefillMemory
from erm_gym.llm.slot_output import SlotOutput

PREFILL_CACHE_BYTES = 512 * 2**20
"""Bytes of finished prefills that `Slots` remembers, so that a prompt seen again costs nothing."""


@dataclass(frozen=True, kw_only=True)
class SlotSnapshot:
    """Copy of some rows: enough to go on from here later, in the same or in other slots."""

    lengths: tuple[int, ...]
    """Number of cached positions of each of the n rows."""
    layers: Layers
    """Keys and values `[n, H, T, D]` by layer, T the length of the longest row."""

    def nbytes(self) -> int:
        """Bytes of the copied keys and values."""
        return nbytes(self.layers)


@dataclass(frozen=True, kw_only=True)
class _Prefix:
    """What the prompts share, once it was read."""

    layers: Layers
    hidden: torch.Tensor  # [P, d]
    states: torch.Tensor  # [P, L, d]


class Slots:
    """B rows of text over one frozen LM.

    What the prompts share at their start is computed once, and finished prefills are remembered,
    so that a prompt seen again costs a copy.

    Attributes:
        lengths: Cached positions of every row, `[B]` int64 on the CPU; 0 marks an empty slot.
    """

    def __init__(
        self,
        forward: Forward,
        num_slots: int,
        *,
        device: torch.device,
        context_length: int,
        template: Sequence[int] = (),
        prefix: Sequence[int] = (),
        layers: Sequence[int] = (),
    ) -> None:
        """Allocates nothing until the first prefill; memory grows with the longest row.

        Args:
            forward: The frozen model's.
            num_slots: Number B of rows, >= 1.
            device: Where the model is.
            context_length: Longest row that the model can read.
            template: Tokens that start most prompts and say nothing; `pooled` leaves them out.
            prefix: Tokens that start most prompts, computed once; the template if empty.
            layers: Numbers of the L layers whose hidden states are wanted of every position.

        Raises:
            ValueError: If `num_slots` is below 1.
        """
        if num_slots < 1:
            raise ValueError(f"num_slots must be at least 1, got {num_slots}")
        self.num_slots = num_slots
        self.lengths = torch.zeros(num_slots, dtype=torch.int64)
        self._forward = forward
        self._device = device
        self._context_length = context_length
        self._template = tuple(template)
        self._prefix_tokens = tuple(prefix) or self._template
        self._prefix: _Prefix | None = None
        self._layers = tuple(layers)
        self._cache = KVCache(num_slots)
        self._memory = PrefillMemory(PREFILL_CACHE_BYTES)

    def reserve(self, positions: int) -> None:
        """Makes room for rows of that many positions at once, so that none is copied to grow."""
        self._cache.reserve(positions)

    def rewind(self, lengths: torch.Tensor) -> None:
        """Takes back what rows were appended.

        Args:
            lengths: Positions that every row had before, `[B]` int64; 0 empties it.
        """
        self.lengths = lengths.clone()
        self._cache.scrub(self.lengths)

    def nbytes(self) -> int:
        """Bytes of the rows' keys and values, without the prefix and remembered prefills."""
        return self._cache.nbytes()

    @torch.no_grad()
    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> SlotOutput:
        """Fills slots with prompts; whatever they held is dropped.

        Args:
            slots: n different row indices, n >= 1.
            prompts: n lists of token ids, none empty.

        Returns:
            Logits and hidden states at each prompt's last token, in the order of `slots`; `pooled`
            and `states` are of the whole prompt, without the template if it starts with that.

        Raises:
            ValueError: If a prompt is empty or longer than the context.
        """
        keys = [tuple(prompt) for prompt in prompts]
        for key in keys:
            if not 0 < len(key) <= self._context_length:
                raise ValueError(
                    f"a prompt of {len(key)} tokens cannot be prefilled: the model reads 1 to "
                    f"{self._context_length} tokens"
                )
        slot_of = {key: slot for slot, key in zip(slots, keys, strict=True)}
        known = {key: found for key in slot_of if (found := self._memory.recall(key))}
        new = {key: slot for key, slot in slot_of.items() if key not in known}
        if new:
            known.update(self._read_prompts(new))
        for slot, key in zip(slots, keys, strict=True):
            if new.get(key) != slot:
                self._begin([slot], known[key].start)
                self._cache.paste([slot], known[key].start, known[key].layers)
                self.lengths[slot] = len(key)
        return SlotOutput.concatenate([known[key].output for key in keys])

    def _read_prompts(self, slot_of: dict[tuple[int, ...], int]) -> dict[tuple[int, ...], Prefill]:
        """Reads prompts into slots, in one forward."""
        share = len(self._prefix_tokens)
        starts = [
            share if key[:share] == self._prefix_tokens and share < len(key) else 0
            for key in slot_of
        ]
        for start in set(starts):
            self._begin(
                [slot for slot, own in zip(slot_of.values(), starts, strict=True) if own == start],
                start,
            )
        output = self._append(
            [key[start:] for key, start in zip(slot_of, starts, strict=True)],
            list(slot_of.values()),
        )
        read = {}
        skip = len(self._template)
        for row, ((key, slot), start) in enumerate(zip(slot_of.items(), starts, strict=True)):
            hidden = output.hidden[row, : len(key) - start]  # [t, d]
            states = output.states[row, : len(key) - start]  # [t, L, d]
            content, seen = hidden, states
            if start and self._prefix:
                content = torch.cat((self._prefix.hidden, hidden))
                seen = torch.cat((self._prefix.states, states))
            if key[:skip] == self._template and skip < len(key):
                content, seen = content[skip:], seen[skip:]
            read[key] = Prefill(
                start=start,
                layers=self._cache.copy([slot], start, len(key)),
                output=SlotOutput(
                    logits=output.logits[row][None].clone(),
                    hidden=hidden[-1:].clone(),
                    last=output.last[row][None].clone(),
                    pooled=content.mean(dim=0, keepdim=True),
                    states=seen[None].clone(),
                    counts=torch.tensor([len(seen)]),
                ),
            )
            if bool(torch.isfinite(read[key].output.logits).all()):
                self._memory.remember(key, read[key])
        return read

    def _begin(self, slots: Sequence[int], start: int) -> None:
        """Empties slots, or puts the prefix, of `start` tokens, into them."""
        self.lengths[slots] = 0
        if not start:
            return
        if self._prefix is None:
            output = self._append([self._prefix_tokens], slots[:1])
            self._prefix = _Prefix(
                layers=self._cache.copy(slots[:1], 0, start),
                hidden=output.hidden[0].clone(),
                states=output.states[0].clone(),
            )
        self._cache.paste(slots, 0, self._prefix.layers)
        self.lengths[slots] = start

    @torch.no_grad()
    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> SlotOutput:
        """Appends several tokens to rows, in one forward over those rows.

        Args:
            slots: n different indices of rows that are not empty, n >= 1.
            tokens: n lists of token ids, none empty; they may differ in length.

        Returns:
            Logits and hidden states at each row's last new token, in the order of `slots`;
            `pooled` and `states` are of the new tokens.

        Raises:
            ValueError: If a row is empty, gets no tokens, or would not fit the context.
        """
        if not 0 < len(slots) == len(tokens):
            raise ValueError(f"{len(slots)} slots cannot be extended by {len(tokens)} token lists")
        counts = torch.tensor([len(own) for own in tokens])
        for slot, count in zip(slots, counts.tolist(), strict=True):
            if not count:
                raise ValueError(f"row {slot} gets no tokens; leave it out or give it at least one")
        self._check_rows(torch.tensor(list(slots)), counts)
        output = self._append(tokens, slots)
        return SlotOutput(
            logits=output.logits,
            hidden=torch.stack([h[c - 1] for h, c in zip(output.hidden, counts, strict=True)]),
            last=output.last,
            pooled=torch.stack(
                [h[:c].mean(dim=0) for h, c in zip(output.hidden, counts, strict=True)]
            ),
            states=output.states,
            counts=counts,
        )

    @torch.no_grad()
    def decode(
        self,
        tokens: torch.Tensor,
        active: torch.Tensor | None = None,
        edits: Edits | None = None,
    ) -> SlotOutput:
        """Appends one token to every active row, in one forward over all rows.

        Args:
            tokens: Next token of every row, `[B]` int64; ignored where not active.
            active: Rows to advance, `[B]` bool; all of them if None.
            edits: What changes the new tokens' hidden states `[B, 1, d]`, by layer; nothing if
                None. What is cached of the new tokens comes from the changed states.

        Returns:
            Logits `[B, V]` and hidden states `[B, d]`; of rows that are not active, nothing useful.

        Raises:
            ValueError: If an active row is empty or full, or there is no layer that is edited.
        """
        advance = torch.ones(self.num_slots, dtype=torch.bool) if active is None else active.cpu()
        rows = advance.nonzero().flatten()
        if not len(rows):
            raise ValueError("decode needs at least one active row")
        self._check_rows(rows, torch.ones_like(rows))
        output = self._read(tokens[:, None].clamp(min=0), advance.long(), None, edits)
        hidden = output.hidden[:, 0]
        return SlotOutput(
            logits=output.logits,
            hidden=hidden,
            last=output.last,
            pooled=hidden,
            states=output.states,
            counts=advance.long(),
        )

    def _check_rows(self, rows: torch.Tensor, counts: torch.Tensor) -> None:
        """Raises if rows `[n]` cannot take as many more tokens, `[n]`."""
        lengths = self.lengths[rows]
        if bool((empty := lengths == 0).any()):
            raise ValueError(f"row {int(rows[empty][0])} is empty; prefill it first")
        if bool((full := lengths + counts > self._context_length).any()):
            raise ValueError(
                f"row {int(rows[full][0])} is full: it has {int(lengths[full][0])} tokens, of the "
                f"{self._context_length} that the model reads, and cannot take "
                f"{int(counts[full][0])} more"
            )

    def _append(self, tokens: Sequence[Sequence[int]], slots: Sequence[int]) -> ForwardOutput:
        """Appends n lists of tokens to n rows, in one forward."""
        counts = torch.tensor([len(own) for own in tokens])
        ids = torch.zeros(len(tokens), int(counts.max()), dtype=torch.int64)  # [n, t]
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.tensor(own)
        return self._read(ids, counts, torch.tensor(list(slots)))

    def _read(
        self,
        ids: torch.Tensor,
        counts: torch.Tensor,
        rows: torch.Tensor | None,
        edits: Edits | None = None,
    ) -> ForwardOutput:
        """One forward over the first tokens of n rows, as many of each as `counts` says.

        Args:
            ids: `[n, t]` tokens, padded on the right.
            counts: `[n]` how many of them are to be appended; 0 if the row sits out.
            rows: `[n]` row indices; None if they are all rows in order.
            edits: What changes the tokens' hidden states, by layer.
        """
        before = self.lengths if rows is None else self.lengths[rows]  # [n]
        after = before + counts
        # What is not to be appended is written behind its row's text, where no mask looks before
        # the row itself has written there.
        columns = torch.arange(ids.shape[1])
        positions = torch.minimum(before[:, None] + columns, after[:, None])  # [n, t]
        self._cache.reserve(int(positions.max()) + 1)
        device = self._device
        positions = positions.to(device)
        seen = torch.arange(int(after[counts > 0].max()), device=device)  # [T]
        output = self._forward(
            Step(
                cache=self._cache,
                ids=ids.to(device),
                positions=positions,
                mask=(seen <= positions[:, :, None])[:, None],  # [n, 1, t, T]
                last=(counts - 1).clamp(min=0).to(device),
                rows=None if rows is None else rows.to(device),
                layers=self._layers,
                edits=edits or {},
            )
        )
        if rows is None:
            self.lengths = after
        else:
            self.lengths[rows] = after
        return output

    @torch.no_grad()
    def snapshot(self, slots: Sequence[int] | None = None) -> SlotSnapshot:
        """Copies rows.

        Args:
            slots: n row indices; all rows if None.

        Returns:
            The rows' keys, values and lengths, independent of what happens here later.
        """
        rows = list(range(self.num_slots)) if slots is None else list(slots)
        lengths = tuple(self.lengths[rows].tolist())
        return SlotSnapshot(
            lengths=lengths, layers=self._cache.copy(rows, 0, max(lengths, default=0))
        )

    @torch.no_grad()
    def restore(self, snapshot: SlotSnapshot, slots: Sequence[int] | None = None) -> None:
        """Writes a snapshot's rows back.

        Args:
            snapshot: What `snapshot` returned, of this or another `Slots` over the same model.
            slots: Row for each of the snapshot's rows; all rows in order if None.

        Raises:
            ValueError: If the numbers of rows differ.
        """
        rows = list(range(self.num_slots)) if slots is None else list(slots)
        if len(rows) != len(snapshot.lengths):
            raise ValueError(
                f"the snapshot has {len(snapshot.lengths)} rows, but {len(rows)} slots were named"
            )
        self._cache.paste(rows, 0, snapshot.layers)
        self.lengths[rows] = torch.tensor(snapshot.lengths)


def common_prefix(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest start that all token sequences share and that leaves each at least one token.

    Args:
        sequences: Token ids, one list per text, at least one, none empty.

    Returns:
        Token ids; empty if the sequences differ at once.
    """
    shortest = min(map(len, sequences))
    first = sequences[0]
    for index in range(shortest - 1):
        if any(own[index] != first[index] for own in sequences):
            return tuple(first[:index])
    return tuple(first[: shortest - 1])
