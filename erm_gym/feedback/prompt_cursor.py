"""Goes through a pool of prompts without end, and can go back to where it was."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from erm_gym.feedback.prompt_orders import ORDERS, Place, PromptOrder
from erm_gym.feedback.prompt_pool import Prompt, PromptError, PromptPool
from erm_gym.llm.suggestion import suggest


@dataclass(frozen=True, kw_only=True)
class CursorState:
    """Where a cursor is: all that the prompts to come follow from. JSON has all of its values."""

    generator: dict[str, Any]
    """State of its random generator."""
    begun: int
    """Prompts that it has given."""
    order_seed: int = 0
    """Seed of the orders that are shuffled."""


class PromptCursor:
    """An infinite iterator over a pool.

    >>> from erm_gym.feedback.prompts import load_prompts
    >>> cursor = PromptCursor("shuffled", load_prompts(["a", "b", "c"]), seed=0)
    >>> state = cursor.snapshot()
    >>> first = [next(cursor).text for _ in range(3)]
    >>> sorted(first)
    ['a', 'b', 'c']
    >>> cursor.restore(state)
    >>> [next(cursor).text for _ in range(3)] == first
    True

    Attributes:
        order: Says which prompt comes next.
        generator: Its randomness, which others may share.
        begun: Prompts that it has given since it was seeded.
    """

    def __init__(
        self,
        order: str | PromptOrder,
        pool: PromptPool | None = None,
        *,
        seed: int | None = None,
        row: int = 0,
        rows: int = 1,
    ) -> None:
        """Stands before the first prompt.

        Args:
            order: One of `ORDERS`, or an order that has its pool.
            pool: The prompts, if the order is given by name.
            seed: Decides all that is random, >= 0; None for what nobody can know.
            row: Which of several cursors side by side it is; matters to `sequential` alone.
            rows: How many they are.

        Raises:
            PromptError: If the order is unknown, or there is no pool, or two.
        """
        if isinstance(order, str):
            if order not in ORDERS:
                raise PromptError(f"unknown order {order!r}; {suggest(order, ORDERS)}")
            if pool is None:
                raise PromptError(f"an order given by name, {order!r}, needs a pool of prompts")
            order = ORDERS[order](pool)
        elif pool is not None:
            raise PromptError("an order that is no name has its own pool; leave out the other")
        self.order = order
        self._row, self._rows = row, rows
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Stands before the first prompt again, with other randomness."""
        self.generator = np.random.default_rng(seed)
        self.begun = 0
        # Orders that draw as they go leave the generator to whoever shares it.
        self._order_seed = int(self.generator.integers(2**53)) if self.order.needs_seed else 0

    def draw(self) -> Prompt:
        """The next prompt, without going on to the one after it."""
        place = Place(begun=self.begun, order_seed=self._order_seed, row=self._row, rows=self._rows)
        return self.order.draw(place, self.generator)

    def advance(self) -> None:
        """Goes on to the next prompt."""
        self.begun += 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prompt:
        prompt = self.draw()
        self.advance()
        return prompt

    def snapshot(self) -> CursorState:
        """Where it is, independent of what happens to it later."""
        return CursorState(
            generator=copy.deepcopy(dict(self.generator.bit_generator.state)),
            begun=self.begun,
            order_seed=self._order_seed,
        )

    def restore(self, state: CursorState) -> None:
        """Goes to where this cursor, or one of the same order, was."""
        self.generator.bit_generator.state = copy.deepcopy(state.generator)
        self.begun, self._order_seed = state.begun, state.order_seed
