"""Slots: one KV cache that holds independent rows of different lengths.

A row is filled by `prefill`, advanced by `decode` together with all others in one batched
forward, and filled again when its text is finished, while the others go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from erm_gym.llm.kv_cache import Forward, KVCache, Step

PREFILL_CACHE_BYTES = 512 * 2**20
"""Bytes of finished prefills that `Slots` remembers, so that a prompt seen again costs nothing."""


@dataclass(frozen=True, kw_only=True)
class SlotOutput:
    """What the LM says at the last position of n rows."""

    logits: torch.Tensor
    """Next-token logits `[n, V]`, in the model's dtype."""
    hidden: torch.Tensor
    """Hidden states `[n, d]` at the layer that the critic reads, in the model's dtype."""
    last: torch.Tensor
    """Hidden states `[n, d]` that the LM head makes the logits from, in the model's dtype."""
    pooled: torch.Tensor
    """Mean hidden states `[n, d]` over the new positions: a prompt's content, or one token."""

    def select(self, rows: torch.Tensor) -> SlotOutput:
        """The same of some rows, `[m]` int64 numbers of them."""
        return SlotOutput(
            logits=self.logits[rows],
            hidden=self.hidden[rows],
            last=self.last[rows],
            pooled=self.pooled[rows],
        )


@dataclass(frozen=True, kw_only=True)
class SlotSnapshot:
    """Copy of some rows: enough to go on from here later, in the same or in other slots."""

    lengths: tuple[int, ...]
    """Number of cached positions of each of the n rows."""
    keys: torch.Tensor
    """Keys `[L, n, H, T, D]`: layers, rows, key-value heads, longest row, head size."""
    values: torch.Tensor
    """Values, as the keys; the head size may differ."""

    def nbytes(self) -> int:
        """Bytes of the copied keys and values."""
        return self.keys.nbytes + self.values.nbytes


class Slots:
    """B rows of text over one frozen LM.

    What the chat template puts before every prompt is computed once, and finished prefills are
    remembered, so that a prompt seen again costs a copy.

    Attributes:
        lengths: Cached positions of every row, `[B]` int64 on the CPU; 0 marks an empty slot.
    """

    def __init__(
        self,
        forward: Forward,
        num_slots: int,
        *,
        num_layers: int,
        device: torch.device,
        context_length: int,
        template: Sequence[int] = (),
    ) -> None:
        """Allocates nothing until the first prefill; memory grows with the longest row.

        Args:
            forward: The frozen model's.
            num_slots: Number B of rows, >= 1.
            num_layers: Layers of the model that have a cache.
            device: Where the model is.
            context_length: Longest row that the model can read.
            template: Tokens that start most prompts; `pooled` leaves them out.

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
        self._template_rows: SlotSnapshot | None = None
        self._cache = KVCache(num_layers, num_slots)
        self._prefills: OrderedDict[tuple[int, ...], tuple[SlotSnapshot, SlotOutput]] = (
            OrderedDict()
        )
        self._prefill_bytes = 0

    @torch.no_grad()
    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> SlotOutput:
        """Fills slots with prompts; whatever they held is dropped.

        Args:
            slots: n different row indices, n >= 1.
            prompts: n lists of token ids, none empty.

        Returns:
            Logits and hidden states at each prompt's last token, in the order of `slots`.

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
        outputs = {key: self._recall(key, slot) for key, slot in slot_of.items()}
        for templated in (True, False):
            new = [
                key
                for key in slot_of
                if outputs[key] is None and self._starts_with_template(key) == templated
            ]
            if new:
                where = [slot_of[key] for key in new]
                for key, fresh in zip(new, self._forward_prompts(where, new), strict=True):
                    outputs[key] = fresh
                    self._remember(key, self.snapshot([slot_of[key]]), fresh)
        for slot, key in zip(slots, keys, strict=True):
            if slot != slot_of[key]:
                self.restore(self.snapshot([slot_of[key]]), [slot])
        return _concatenate([output for key in keys if (output := outputs[key]) is not None])

    def _starts_with_template(self, key: tuple[int, ...]) -> bool:
        start = len(self._template)
        return 0 < start < len(key) and key[:start] == self._template

    def _forward_prompts(
        self, slots: list[int], prompts: list[tuple[int, ...]]
    ) -> list[SlotOutput]:
        """One forward over prompts that all start with the template, or none of which does."""
        start = len(self._template) if self._starts_with_template(prompts[0]) else 0
        if start:
            self._write_template(slots)
        device = self._device
        width = max(len(prompt) for prompt in prompts) - start
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)  # [n, t], padded on the right
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt) - start] = torch.tensor(prompt[start:])
        columns = torch.arange(start, start + width, device=device)  # [t]
        mask = torch.arange(start + width, device=device)[None] <= columns[:, None]  # [t, T]
        last = torch.tensor([len(prompt) - start - 1 for prompt in prompts])  # [n]
        kept, index = torch.unique(last, return_inverse=True)
        self._reserve(start + width)
        output = self._forward(
            Step(
                cache=self._cache,
                ids=ids.to(device),
                positions=columns.expand(len(prompts), -1),
                mask=mask.expand(len(prompts), 1, -1, -1),
                keep=kept.to(device),
                rows=torch.tensor(slots, device=device),
            )
        )
        outputs = []
        for row, prompt in enumerate(prompts):
            self.lengths[slots[row]] = len(prompt)
            own = output.hidden[row, : len(prompt) - start]  # [t, d]
            outputs.append(
                SlotOutput(
                    logits=output.logits[row, index[row]][None].clone(),
                    hidden=own[-1:].clone(),
                    last=output.last[row, index[row]][None].clone(),
                    pooled=own.mean(dim=0, keepdim=True),
                )
            )
        return outputs

    def _write_template(self, slots: list[int]) -> None:
        if self._template_rows is None:
            length, device = len(self._template), self._device
            self._reserve(length)
            columns = torch.arange(length, device=device)
            self._forward(
                Step(
                    cache=self._cache,
                    ids=torch.tensor([self._template], device=device),
                    positions=columns[None],
                    mask=(columns[None] <= columns[:, None])[None, None],
                    keep=columns[-1:],
                    rows=torch.tensor(slots[:1], device=device),
                )
            )
            self.lengths[slots[0]] = length
            self._template_rows = self.snapshot(slots[:1])
        for slot in slots:
            self.restore(self._template_rows, [slot])

    @torch.no_grad()
    def decode(self, tokens: torch.Tensor, active: torch.Tensor | None = None) -> SlotOutput:
        """Appends one token to every active row, in one forward over all rows.

        Args:
            tokens: Next token of every row, `[B]` int64; ignored where not active.
            active: Rows to advance, `[B]` bool; all of them if None.

        Returns:
            Logits `[B, V]` and hidden states `[B, d]`; of rows that are not active, nothing useful.

        Raises:
            ValueError: If an active row is empty or full.
        """
        advance = torch.ones(self.num_slots, dtype=torch.bool) if active is None else active.cpu()
        live = self.lengths[advance]
        if len(live) == 0:
            raise ValueError("decode needs at least one active row")
        if bool((live == 0).any()):
            row = int(torch.nonzero(advance & (self.lengths == 0))[0])
            raise ValueError(f"row {row} is empty; prefill it before decoding")
        longest = int(live.max()) + 1
        if longest > self._context_length:
            raise ValueError(f"a row is full: the model reads {self._context_length} tokens")
        self._reserve(longest)
        device = self._device
        # A row that sits out writes behind its own text, where no mask looks before the row itself
        # has written there.
        positions = self.lengths.to(device)  # [B]
        mask = torch.arange(longest, device=device)[None] <= positions[:, None]  # [B, T]
        output = self._forward(
            Step(
                cache=self._cache,
                ids=tokens.to(device)[:, None].clamp(min=0),
                positions=positions[:, None],
                mask=mask[:, None, None],
                keep=torch.zeros(1, dtype=torch.int64, device=device),
            )
        )
        self.lengths += advance
        hidden = output.hidden[:, 0]
        return SlotOutput(
            logits=output.logits[:, 0], hidden=hidden, last=output.last[:, 0], pooled=hidden
        )

    def _reserve(self, length: int) -> None:
        # One position more than the longest row, so that a row that sits out has a place to write.
        self._cache.reserve(length + 1)

    def _recall(self, key: tuple[int, ...], slot: int) -> SlotOutput | None:
        if key not in self._prefills:
            return None
        self._prefills.move_to_end(key)
        snapshot, output = self._prefills[key]
        self.restore(snapshot, [slot])
        return output

    def _remember(self, key: tuple[int, ...], snapshot: SlotSnapshot, output: SlotOutput) -> None:
        self._prefills[key] = (snapshot, output)
        self._prefill_bytes += snapshot.nbytes()
        while self._prefill_bytes > PREFILL_CACHE_BYTES:
            _, (oldest, _) = self._prefills.popitem(last=False)
            self._prefill_bytes -= oldest.nbytes()

    @torch.no_grad()
    def snapshot(self, slots: Sequence[int] | None = None) -> SlotSnapshot:
        """Copies rows.

        Args:
            slots: n row indices; all rows if None.

        Returns:
            The rows' keys, values and lengths, independent of what happens here later.
        """
        rows = list(range(self.num_slots)) if slots is None else list(slots)
        lengths = tuple(int(self.lengths[row]) for row in rows)
        span = max(lengths, default=0)
        keys, values = self._cache.keys, self._cache.values
        assert keys is not None and values is not None, "no slot was ever filled"
        return SlotSnapshot(
            lengths=lengths, keys=keys[:, rows, :, :span], values=values[:, rows, :, :span]
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
        span = snapshot.keys.shape[3]
        self._reserve(span)
        keys, values = self._cache.allocate(snapshot.keys[0], snapshot.values[0])
        keys[:, rows, :, :span] = snapshot.keys
        values[:, rows, :, :span] = snapshot.values
        for row, length in zip(rows, snapshot.lengths, strict=True):
            self.lengths[row] = length


def _concatenate(outputs: Sequence[SlotOutput]) -> SlotOutput:
    return SlotOutput(
        logits=torch.cat([output.logits for output in outputs]),
        hidden=torch.cat([output.hidden for output in outputs]),
        last=torch.cat([output.last for output in outputs]),
        pooled=torch.cat([output.pooled for output in outputs]),
    )
