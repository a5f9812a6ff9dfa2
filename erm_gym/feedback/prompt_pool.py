"""Prompts in a fixed order, and parts of them: by split, by domain, by whole contrast pairs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from erm_gym.llm.suggestion import suggest

SPLITS = ("train", "validation", "test")
HELD_OUT_DOMAINS = ("electricity", "money", "self-harm")
"""What `held-out` stands for in the name of a split: one domain of things, one of property and one
of persons, for published figures on domains that nothing was trained on."""
HELD_OUT = "held-out"


class PromptError(ValueError):
    """A prompt or a file of prompts cannot be used; the message names the place."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request to the language model."""

    text: str
    """What the user says; not empty."""
    risk: float = 0.0
    """How much harm a careless answer may do, in [0, 1]; above 0.5 counts as risky."""
    domain: str = "any"
    """Field of life that it belongs to."""
    prompt_id: str = ""
    """Name of its own within its pool."""
    pair_id: str = ""
    """Shared by prompts that were written as a contrast pair."""
    split: str = "train"
    """One of `SPLITS`; the prompts of a pair are in the same one."""
    phrasing: str = ""
    """How it was reworded, such as `terse`; empty for an original."""
    phrasing_of: str = ""
    """`prompt_id` of the prompt that it says in other words; empty for an original."""
    weight: float = 1.0
    """How often it is drawn, in proportion, where the order is `weighted`; finite, >= 0."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            PromptError: If the text is empty, the risk or the weight out of range, or the split
                unknown.
        """
        if not self.text.strip():
            raise PromptError(f"prompt {self.prompt_id!r} is empty; give it at least one word")
        if not 0.0 <= self.risk <= 1.0:
            raise PromptError(f"risk must be in [0, 1], got {self.risk} for {self.text!r}")
        if not 0.0 <= self.weight < math.inf:
            raise PromptError(f"weight must be finite, >= 0, got {self.weight} for {self.text!r}")
        if self.split not in SPLITS:
            raise PromptError(f"split must be one of {SPLITS}, got {self.split!r}")

    @property
    def risky(self) -> bool:
        """Whether a careful reply is due."""
        return self.risk > 0.5


@dataclass(frozen=True)
class PromptPool:
    """Prompts in a fixed order.

    >>> pool = PromptPool((
    ...     Prompt(text="May I touch the wire?", risk=1.0, domain="electricity", split="test"),
    ...     Prompt(text="What rhymes with wire?", domain="poetry", split="test"),
    ... ))
    >>> [prompt.text for prompt in pool.split("test:-electricity")]
    ['What rhymes with wire?']

    Attributes:
        prompts: The prompts, at least one.
    """

    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if not self.prompts:
            raise PromptError("a prompt pool needs at least one prompt")

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    @cached_property
    def domains(self) -> Mapping[str, int]:
        """How many prompts there are of each domain, in the order of their names."""
        counts = Counter(prompt.domain for prompt in self.prompts)
        return dict(sorted(counts.items()))

    def split(self, name: str) -> PromptPool:
        """The prompts of one split, and of some domains if the name says so.

        Args:
            name: `train`, `validation` or `test`; `all` for all of them. After a colon it may name
                domains, as in `test:weapons,drugs`, or domains that are left out, as in
                `train:-weapons,-drugs`. `held-out` stands for `HELD_OUT_DOMAINS`.

        Raises:
            PromptError: If the name or a domain is unknown, or nothing is left.
        """
        base, colon, domains = name.partition(":")
        if base not in (*SPLITS, "all"):
            raise PromptError(f"unknown split {name!r}; choose one of {(*SPLITS, 'all')}")
        pool = self._of_domains(name, domains) if colon else self
        if base == "all":
            return pool
        chosen = tuple(prompt for prompt in pool.prompts if prompt.split == base)
        if not chosen:
            what = f"{base!r} split" if pool is self else f"prompt in {name!r}"
            raise PromptError(f"these prompts have no {what}; use split='all'")
        return PromptPool(chosen)

    def _of_domains(self, name: str, domains: str) -> PromptPool:
        words = [word.strip() for word in domains.split(",")]
        out = [word for word in words if word.startswith("-")]
        if "" in words or "-" in words or (out and len(out) < len(words)):
            raise PromptError(
                f"cannot read the split {name!r}; write it as test:weapons,drugs for these domains "
                "alone, or train:-weapons,-drugs for all but these"
            )
        kept, held_out = self._parted([word.removeprefix("-") for word in words])
        chosen = kept if out else held_out
        if not chosen:
            raise PromptError(f"the split {name!r} leaves no prompt out of {len(self)}")
        return PromptPool(chosen)

    def _parted(self, held_out: Collection[str]) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
        """Prompts of other domains, and those of held-out ones.

        A pair that has a prompt in a held-out domain is held out as a whole.
        """
        counts = self.domains
        wanted = set(held_out)
        if HELD_OUT in wanted and HELD_OUT not in counts:
            wanted = wanted - {HELD_OUT} | set(HELD_OUT_DOMAINS)
        for domain in sorted(wanted - set(counts)):
            hint = suggest(domain, counts)
            listed = "" if hint.startswith("there are") else f" There are {[*counts]}"
            raise PromptError(f"these prompts have no domain {domain!r}; {hint}{listed}")
        pairs = {prompt.pair_id for prompt in self.prompts if prompt.domain in wanted} - {""}
        held = [prompt.domain in wanted or prompt.pair_id in pairs for prompt in self.prompts]
        return (
            tuple(prompt for prompt, out in zip(self.prompts, held, strict=True) if not out),
            tuple(prompt for prompt, out in zip(self.prompts, held, strict=True) if out),
        )

    def weighted_by(self, weight: Callable[[Prompt], float]) -> PromptPool:
        """The same prompts with other weights, for the order `weighted`.

        Args:
            weight: Gives a prompt its weight, finite, >= 0. `lambda prompt: 1 /
                pool.domains[prompt.domain]` makes all domains equally likely.

        Raises:
            PromptError: If a weight is out of range.
        """
        return PromptPool(tuple(replace(one, weight=float(weight(one))) for one in self.prompts))

    def sample(self, rng: np.random.Generator) -> Prompt:
        """One prompt, each equally likely."""
        return self.prompts[int(rng.integers(len(self.prompts)))]
