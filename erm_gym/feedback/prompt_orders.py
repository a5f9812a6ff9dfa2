"""In which order the prompts of a pool are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from erm_gym.feedback.prompt_pool import Prompt, PromptError, PromptPool
from erm_gym.llm.suggestion import suggest

CURRICULUM_KEYS: dict[str, Callable[[Prompt], float]] = {
    "risk": lambda prompt: prompt.risk,
    "length": lambda prompt: len(prompt.text.split()),
}
"""What makes a prompt hard, by name: how much harm a careless answer does, or how many words it
has."""
FIRST_SHARE = 0.1
"""Share of the pool that a curriculum begins with."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where somebody who asks one prompt after another is."""

    begun: int
    """Prompts asked before, >= 0."""
    order_seed: int = 0
    """Seed of the orders that are shuffled, >= 0."""
    row: int = 0
    """Which of those who ask side by side it is, in [0, rows)."""
    rows: int = 1
    """How many there are, >= 1."""


class PromptOrder(Protocol):
    """Says which prompt comes next. It follows from the place and the generator alone.

    Attributes:
        pool: The prompts.
        needs_seed: Whether it reads `Place.order_seed`.
    """

    pool: PromptPool
    needs_seed: bool

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """The prompt at a place.

        Args:
            place: Where it is asked.
            rng: Generator of whoever asks; the same draws are taken from it at every place.
        """
        ...


class RandomOrder:
    """Each prompt equally likely, every time."""

    needs_seed = False

    def __init__(self, pool: PromptPool) -> None:
        self.pool = pool

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """Draws once from `rng`."""
        return self.pool.sample(rng)


class SequentialOrder:
    """The order of the pool, over and over: of B rows, row i takes prompts i, i + B, ..."""

    needs_seed = False

    def __init__(self, pool: PromptPool) -> None:
        self.pool = pool

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """Draws nothing from `rng`."""
        return self.pool.prompts[(place.row + place.rows * place.begun) % len(self.pool)]


class ShuffledOrder:
    """Each prompt once, in random order, then each once in another, and so on."""

    needs_seed = True

    def __init__(self, pool: PromptPool) -> None:
        self.pool = pool

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """Draws nothing from `rng`: the order of every pass follows from the order's seed."""
        number, position = divmod(place.begun, len(self.pool))
        order = np.random.default_rng([place.order_seed, number]).permutation(len(self.pool))
        return self.pool.prompts[order[position]]


class WeightedOrder:
    """Every time a random prompt, as likely as its share of the weights.

    Raises:
        PromptError: If all weights are 0.
    """

    needs_seed = False

    def __init__(self, pool: PromptPool) -> None:
        self.pool = pool
        weights = np.array([prompt.weight for prompt in pool])
        largest = float(weights.max())
        if largest == 0.0:
            raise PromptError("all prompts have weight 0; give at least one a weight above 0")
        self._bounds = np.cumsum(weights / largest)  # [N], and no overflow
        self._last = int(np.flatnonzero(weights)[-1])

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """Draws once from `rng`; a prompt of weight 0 never comes."""
        at = rng.random() * self._bounds[-1]
        index = int(np.searchsorted(self._bounds, at, side="right"))
        return self.pool.prompts[min(index, self._last)]


class CurriculumOrder:
    """Every time a random prompt from the easiest part of the pool, which grows to all of it.

    After t of T prompts the part is the share sqrt(t / T (1 - c^2) + c^2) of the contrast pairs, c
    = `FIRST_SHARE`; a pair is as hard as the harder of its prompts and is never torn apart. Pairs
    that are equally hard are in a random order, the same for every seed.

    Source: the square-root competence of Platanios et al. 2019; that pairs stay whole is our own.
    """

    needs_seed = False

    def __init__(
        self,
        pool: PromptPool,
        *,
        length: int = 500,
        key: str | Callable[[Prompt], float] = "risk",
    ) -> None:
        """Sorts the pairs.

        Args:
            pool: The prompts.
            length: Number T of prompts after which any may come, >= 1.
            key: What makes a prompt hard: one of `CURRICULUM_KEYS`, or a function.

        Raises:
            PromptError: If the length is below 1, or the key unknown or no number.
        """
        if length < 1:
            raise PromptError(f"the length of a curriculum must be at least 1, got {length}")
        if isinstance(key, str):
            if key not in CURRICULUM_KEYS:
                raise PromptError(f"unknown key {key!r}; {suggest(key, CURRICULUM_KEYS)}")
            key = CURRICULUM_KEYS[key]
        self.pool = pool
        self.length = length
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(pool):
            groups.setdefault(prompt.pair_id or f"alone {index}", []).append(index)
        members = [*groups.values()]
        hard = np.array([max(key(pool.prompts[i]) for i in group) for group in members], float)
        if np.isnan(hard).any():
            worst = pool.prompts[members[int(np.isnan(hard).argmax())][0]]
            raise PromptError(f"the key of a curriculum is no number for {worst.text!r}")
        mixed = np.random.default_rng(0).permutation(len(members))
        order = mixed[np.argsort(hard[mixed], kind="stable")]
        self._indices = np.concatenate([members[group] for group in order])  # [N], easy to hard
        self._ends = np.cumsum([len(members[group]) for group in order])  # [G]

    def easiest(self, begun: int) -> PromptPool:
        """The part of the pool that may come after so many prompts, from easy to hard."""
        return PromptPool(tuple(self.pool.prompts[i] for i in self._indices[: self._open(begun)]))

    def _open(self, begun: int) -> int:
        done = min(begun / self.length, 1.0)
        share = np.sqrt(done * (1.0 - FIRST_SHARE**2) + FIRST_SHARE**2)
        groups = int(np.ceil(min(share, 1.0) * len(self._ends)))
        return int(self._ends[groups - 1])

    def draw(self, place: Place, rng: np.random.Generator) -> Prompt:
        """Draws once from `rng`."""
        return self.pool.prompts[self._indices[int(rng.integers(self._open(place.begun)))]]


ORDERS: dict[str, Callable[[PromptPool], PromptOrder]] = {
    "random": RandomOrder,
    "sequential": SequentialOrder,
    "shuffled": ShuffledOrder,
    "weighted": WeightedOrder,
    "curriculum": CurriculumOrder,
}
"""The orders, by name."""
