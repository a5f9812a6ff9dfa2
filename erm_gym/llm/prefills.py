"""Prompts that were read before: what is remembered of them, and for how long."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from erm_gym.llm.kv_cache import Layers, nbytes
from erm_gym.llm.slot_output import SlotOutput


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """One prompt that was read."""

    start: int
    """Positions before those that are kept here: those of the shared prefix, or none."""
    layers: Layers
    """Keys and values of the others."""
    output: SlotOutput
    """What the LM said at its last token."""

    def nbytes(self) -> int:
        """Bytes held."""
        return nbytes(self.layers) + self.output.nbytes()


class PrefillMemory:
    """The prompts used last, by their tokens, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        """Remembers nothing yet.

        Args:
            budget: Bytes that may be held; the prompts not used for longest go first.
        """
        self._budget = budget
        self._bytes = 0
        self._prefills: OrderedDict[tuple[int, ...], Prefill] = OrderedDict()

    def recall(self, prompt: tuple[int, ...]) -> Prefill | None:
        """What is known of a prompt, which thereby becomes the one used last; None if nothing."""
        if prompt in self._prefills:
            self._prefills.move_to_end(prompt)
        return self._prefills.get(prompt)

    def remember(self, prompt: tuple[int, ...], prefill: Prefill) -> None:
        """Keeps a prompt that is not known yet, and forgets old ones beyond the budget."""
        self._prefills[prompt] = prefill
        self._bytes += prefill.nbytes()
        while self._bytes > self._budget:
            _, oldest = self._prefills.popitem(last=False)
            self._bytes -= oldest.nbytes()
