"""Hidden states of labelled texts, computed once and kept on disk."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.training.datasets import DataError
from erm_gym.llm import FrozenLLM, LLMError, read_layers
from erm_gym.llm.digest import digest

TEXTS_AT_ONCE = 1024
"""Texts after which what was computed is counted as done."""
STATES, ABOUT = "states.bin", "about.json"


class StateCache:
    """What a frozen LM makes of N texts, read as prompts under its chat template.

    A text is what the user says; its positions are its own tokens and those with which the template
    ends a prompt. The states are `[positions, K, d]` in bfloat16, one text behind the other, in
    `states.bin`, which is mapped into memory and not loaded. `about.json` says how many texts are
    done: what a kill or a full disk leaves behind that is cut off, and the next call goes on.

    Attributes:
        folder: Where it is.
        lengths: Positions of every text, `[N]` int64.
    """

    def __init__(
        self,
        folder: Path,
        llm: FrozenLLM,
        texts: Sequence[str],
        layers: Sequence[int],
        *,
        progress: Callable[[int, int], None] = lambda done, count: None,
    ) -> None:
        """Opens the states of these texts, and computes those that are missing.

        Args:
            folder: Where all caches are; each has a folder of its own there, named by what it is.
            llm: The frozen LM.
            texts: N texts.
            layers: The K hidden layers.
            progress: Called with the number of texts that are done, and N.

        Raises:
            DataError: If there are no texts, one is empty or too long, or the disk is full.
        """
        self._shape = len(layers), llm.hidden_size
        self._layers = tuple(layers)
        self._columns = list(range(len(layers)))  # of the file, that `batch` gives
        if not texts:
            raise DataError("there are no texts to read")
        tokens = [_encode(llm, text) for text in texts]
        start = len(llm.template)
        self._key = {
            "llm": llm.name,
            "weights": llm.weights_digest,
            "dtype": str(llm.dtype).removeprefix("torch."),
            "layers": list(layers),
            "tokens": digest(repr((start, own)).encode() for own in tokens),
        }
        self.folder = folder / digest([json.dumps(self._key, sort_keys=True).encode()])
        self.lengths = np.array([len(own) - start for own in tokens], dtype=np.int64)
        self._ends = self.lengths.cumsum()
        try:
            self._complete(llm, tokens, layers, progress)
        except OSError as error:
            raise DataError(
                f"the hidden states cannot be written to {self.folder} ({error}); they need "
                f"{self.nbytes / 1e9:.1f} GB. What is there stays valid: make room and run the "
                "same command again, or give another folder with --cache"
            ) from error
        flat = np.memmap(self.folder / STATES, dtype=np.int16, mode="r")
        self._states = flat.reshape(-1, *self._shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return int(self.lengths.sum()) * self._bytes_per_position

    def __len__(self) -> int:
        """Number N of texts."""
        return len(self.lengths)

    def select(self, layers: Sequence[int]) -> StateCache:
        """The same cache with some of its layers, in that order.

        Raises:
            ValueError: If a layer is not in it.
        """
        if missing := set(layers) - set(self._layers):
            raise ValueError(f"the cache has the layers {self._layers}, not {sorted(missing)}")
        part = copy.copy(self)
        part._columns = [self._layers.index(layer) for layer in layers]
        return part

    def means(self) -> Tensor:
        """Mean state of every text, `[N, K, d]` float32."""
        return torch.stack(
            [self.batch([row])[0][0].float().mean(dim=0) for row in range(len(self))]
        )

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States of some texts, padded on the right.

        Args:
            rows: Numbers of n texts.

        Returns:
            `[n, T, K, d]` bfloat16, T the longest of them, zero behind shorter ones; and where
            there is text, `[n, T]` bool.
        """
        lengths = self.lengths[rows]
        shape = len(rows), int(lengths.max()), len(self._columns), self._shape[1]
        padded = np.zeros(shape, dtype=np.int16)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            end = self._ends[row]
            padded[place, :length] = self._states[end - length : end, self._columns]
        mask = np.arange(padded.shape[1]) < lengths[:, None]
        return torch.from_numpy(padded).view(torch.bfloat16), torch.from_numpy(mask)

    @property
    def _bytes_per_position(self) -> int:
        return 2 * self._shape[0] * self._shape[1]

    def _complete(
        self,
        llm: FrozenLLM,
        tokens: Sequence[Sequence[int]],
        layers: Sequence[int],
        progress: Callable[[int, int], None],
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self._texts_done()
        with (self.folder / STATES).open("ab") as file:
            file.truncate(int(self._ends[done - 1]) * self._bytes_per_position if done else 0)
            while done < len(tokens):
                part = tokens[done : done + TEXTS_AT_ONCE]
                for states in read_layers(llm, part, layers, shared=llm.template):
                    bits = states.to("cpu", torch.bfloat16).view(torch.int16)
                    file.write(bits.numpy().tobytes())
                file.flush()
                done += len(part)
                self._write_about(done)
                progress(done, len(tokens))

    def _texts_done(self) -> int:
        """How many texts are safe: as many as were counted and are really there."""
        try:
            about = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            size = (self.folder / STATES).stat().st_size
        except (FileNotFoundError, json.JSONDecodeError):
            return 0
        there = int(np.searchsorted(self._ends, size // self._bytes_per_position, side="right"))
        return min(int(about["done"]), there)  # what else it says is in the folder's name

    def _write_about(self, done: int) -> None:
        about = self.folder / ABOUT
        staged = about.with_suffix(".new")
        staged.write_text(json.dumps({**self._key, "done": done}) + "\n", encoding="utf-8")
        staged.replace(about)


def _encode(llm: FrozenLLM, text: str) -> list[int]:
    try:
        tokens = llm.encode_prompt(text.strip())
    except LLMError as error:
        raise DataError(str(error)) from error
    if tuple(tokens[: len(llm.template)]) != llm.template:
        raise DataError(
            f"{llm.name} makes one token of the end of its chat template and the start of "
            f"{text[:60]!r}; leave that text out"
        )
    return tokens
