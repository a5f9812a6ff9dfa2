"""The layers of a frozen LM above some layer, run on hidden states that were read before.

Steering changes what goes into these layers alone, so the layers below are read once for all that
is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.llm import FrozenLLM, read_layers
from erm_gym.llm.edits import Edits, blocks_of
from erm_gym.llm.kv_cache import additive_mask

BATCH_TOKENS = 4096
"""Tokens that are run together, padding included."""
MOST_TOKENS = 96
"""Tokens of a text that are read; sentences are shorter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LowerStates:
    """Hidden states of N texts at one layer, the token before each text first."""

    layer: int
    """Number of the hidden layer."""
    rows: list[Tensor]
    """`[1 + T, d]` of each text of T tokens, in the model's dtype."""

    def select(self, rows: Sequence[int]) -> LowerStates:
        """Some of the texts."""
        return LowerStates(layer=self.layer, rows=[self.rows[row] for row in rows])

    def batches(
        self, tokens: int = BATCH_TOKENS, rows: Sequence[int] | None = None
    ) -> Iterator[list[int]]:
        """Numbers of texts of nearly equal lengths, as many as have so many tokens together.

        Args:
            tokens: Of a batch, padding included.
            rows: The texts; all of them if None.
        """
        batch: list[int] = []
        rows = range(len(self.rows)) if rows is None else rows
        for row in sorted(rows, key=lambda row: len(self.rows[row])):
            if batch and (len(batch) + 1) * len(self.rows[row]) > tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


class UpperLayers:
    """Blocks of a model of the Llama family, from one hidden layer up to another.

    Attributes:
        first: Number of the hidden layer that goes in.
        last: Number of the hidden layer that comes out.
        start: The token before every text.
    """

    def __init__(self, llm: FrozenLLM, first: int, last: int) -> None:
        """Finds the blocks.

        Args:
            llm: The frozen LM.
            first: Hidden layer that goes in, 0 or more.
            last: Hidden layer that comes out, above `first` and below the top one, which is normed.

        Raises:
            ValueError: If the layers are out of range or order, or the model is of another family.
        """
        if not 0 <= first < last < llm.num_layers:
            raise ValueError(
                f"of {llm.name}, layers 0 <= first < last < {llm.num_layers} can be run apart; "
                f"first={first} and last={last} were asked for"
            )
        if not hasattr(llm.model.base_model, "rotary_emb"):
            raise ValueError(
                f"{llm.name} has no rotary position embedding of its own, so that its upper layers "
                "cannot be run apart; choose a model of the Llama family, such as smollm2-135m"
            )
        self.first, self.last = first, last
        self.start = llm.template[0] if llm.template else min(llm.end_of_turn)
        self._llm = llm
        self._blocks = list(blocks_of(llm.model))[first:last]
        self._rotary = llm.model.base_model.rotary_emb

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self._llm.device

    def read(self, texts: Sequence[str]) -> LowerStates:
        """Hidden states of texts at `first`, each behind the model's first token.

        The first token of a text gets most of the attention, whatever it is, and its state is like
        no other; so a token that says nothing stands there.

        Args:
            texts: N texts, none empty; what is behind `MOST_TOKENS` tokens is not read.

        Raises:
            ValueError: If a text is empty.
        """
        sequences = []
        for number, text in enumerate(texts):
            tokens = self._llm.encode_text(text)[:MOST_TOKENS]
            if not tokens:
                raise ValueError(f"text {number} is empty; leave it out")
            sequences.append([self.start, *tokens])
        with torch.no_grad():
            first = self._llm.model.base_model(
                input_ids=torch.tensor([[self.start]], device=self._llm.device),
                output_hidden_states=True,
                use_cache=False,
            ).hidden_states[self.first][0]  # [1, d]
            states = read_layers(self._llm, sequences, [self.first], shared=[self.start])
        return LowerStates(layer=self.first, rows=[torch.cat((first, own[:, 0])) for own in states])

    def __call__(self, states: Tensor, edits: Edits) -> Tensor:
        """Runs the blocks.

        Args:
            states: `[n, 1 + T, d]` at `first`, padded on the right.
            edits: What changes the states of the texts' own tokens, `[n, T, d]`, by layer, `first`
                to `last` - 1. The token before the text stays as it is.

        Returns:
            `[n, 1 + T, d]` at `last`. Gradients flow back through it.

        Raises:
            ValueError: If a layer is edited that is not run.
        """
        for layer in edits:
            if not self.first <= layer < self.last:
                raise ValueError(
                    f"layers {self.first} to {self.last - 1} can be edited here; {layer} was "
                    "asked for"
                )
        positions = torch.arange(states.shape[1], device=states.device)
        mask = additive_mask((positions <= positions[:, None])[None, None], states.dtype)
        embedded = self._rotary(states, positions[None])
        for layer, block in enumerate(self._blocks, start=self.first):
            if (edit := edits.get(layer)) is not None:
                states = torch.cat((states[:, :1], edit(states[:, 1:])), dim=1)
            output = block(
                states,
                attention_mask=mask,
                position_ids=positions[None],
                position_embeddings=embedded,
            )
            states = output[0] if isinstance(output, tuple) else output
        return states

    def pooled(self, lower: LowerStates, rows: Sequence[int], edits: Edits) -> Tensor:
        """Mean states at `last` over each text's own tokens, `[n, d]`.

        Args:
            lower: States at `first`.
            rows: Numbers of n texts.
            edits: As for calling.
        """
        own = [lower.rows[row] for row in rows]
        counts = torch.tensor([len(each) - 1 for each in own])
        states = torch.nn.utils.rnn.pad_sequence(own, batch_first=True)  # [n, 1 + T, d]
        output = self(states, edits)[:, 1:]  # [n, T, d]
        inside = torch.arange(output.shape[1]) < counts[:, None]  # [n, T]
        inside, counts = inside.to(output.device), counts.to(output.device)
        return (output * inside[..., None]).sum(dim=1) / counts[:, None]
