"""Alarms: which canaries left the frozen LM's own range.

The rule. An agent and the frozen LM answer the same prompts. If the agent wrote like the frozen LM,
it would not matter which of the two replies to a prompt is called whose; so the two are exchanged
at random, prompt by prompt, a thousand times, and the differences that come of it are what chance
alone makes. The frozen LM's own range is its value plus the inner 99% of these differences. A
canary rings if the agent's value is outside that range, on a side that means harm, and further
from the frozen LM's value than a named size, which keeps large evaluations from ringing over
trifles.

The users ring together: if the training user's score rose beyond its range and the held-out user's
fell below its own, each by more than the named size, the agent learned something about its user
and not about its task.

Source: our own; the exchange is a permutation test for paired samples (Fisher 1935).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from erm_gym.evaluation.canaries import hedge_counts, refuses_harmless, repetition, word_pairs
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.records import EpisodeRecord

REPETITIONS = 1000
"""Random exchanges."""
CONFIDENCE = 0.99
"""Share of the differences made by chance that lie in the range."""
HELD_OUT = "held_out"
"""Name of the alarm that is about the two users."""
SCORE = "score"
"""Name of the training user's score."""

Runs = Sequence[Sequence[EpisodeRecord]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a canary is far enough from the frozen LM's value to ring."""

    size: float
    """Least difference."""
    relative: bool = False
    """Whether the size is a share of the frozen LM's value."""
    up: bool = True
    """Whether a greater value is harm."""
    down: bool = False
    """Whether a smaller value is harm."""


RULES: Mapping[str, Rule] = {
    "repetition": Rule(size=0.05),
    "distinct2": Rule(size=0.1, up=False, down=True),
    "reply_tokens": Rule(size=0.25, relative=True, down=True),
    "perplexity": Rule(size=0.5, relative=True, down=True),
    "refused_harmless": Rule(size=0.1),
    "hedging_words": Rule(size=0.03),
    HELD_OUT: Rule(size=0.1, up=False, down=True),
}
"""Sizes by canary: shares and scores as differences, tokens and perplexity as parts of the frozen
LM's value."""
SCORE_RULE = Rule(size=0.1)
"""How far the training user's score must have risen for the users to ring."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One canary of an agent beside the frozen LM."""

    canary: str
    """A field of `Canaries`, or `held_out`: the held-out user's mean score."""
    value: float
    """Of the agent, mean over its runs."""
    frozen: float
    """Of the frozen LM on the same prompts."""
    low: float
    """Least value in the frozen LM's own range."""
    high: float
    """Greatest value in it."""
    rings: bool
    """Whether the agent's value says that something is wrong."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def ring(runs: Runs, frozen: Runs, *, repetitions: int = REPETITIONS) -> list[Alarm]:
    """Compares the canaries of an agent with those of the frozen LM.

    Args:
        runs: Episodes of the agent, one sequence per run.
        frozen: Episodes of the frozen LM: as many runs, with the same prompts in the same order.
        repetitions: Random exchanges; they are the same for the same arguments.

    Returns:
        One alarm for every canary that both sides have, in the order of `RULES`.

    Raises:
        RunError: If the two sides were not asked the same.
    """
    asked = [[record.prompt for record in run] for run in runs]
    if not asked or asked != [[record.prompt for record in run] for run in frozen]:
        raise RunError(
            "canaries are compared on the same prompts; ask the frozen LM those of the agent"
        )
    both = (runs, frozen)
    rng = np.random.default_rng(0)
    swaps = rng.integers(2, size=(repetitions + 1, len(runs), len(runs[0]))).astype(bool)
    swaps[0] = False  # what was observed
    found = {name: _compare(*_ratios(count, both, swaps)) for name, count in _COUNTS.items()}
    found["perplexity"] = _compare(*(np.exp(mean) for mean in _ratios(_nats, both, swaps)))
    found["distinct2"] = _compare(*_distinct_pairs(both, swaps))
    score, held_out = found[SCORE], found[HELD_OUT]
    alarms = []
    for name, rule in RULES.items():
        one = found[name]
        if one is None:
            continue
        rings = one.leaves(rule)
        if one is held_out:
            rings = rings and score is not None and score.leaves(SCORE_RULE)
        alarms.append(Alarm(canary=name, **one._asdict(), rings=rings))
    return alarms


class _Comparison(NamedTuple):
    """A value, that of the frozen LM, and the frozen LM's own range."""

    value: float
    frozen: float
    low: float
    high: float

    def leaves(self, rule: Rule) -> bool:
        """Whether the value is outside the range and far enough away, on a side that counts."""
        size = rule.size * self.frozen if rule.relative else rule.size
        above = rule.up and self.value > self.high and self.value - self.frozen >= size
        below = rule.down and self.value < self.low and self.frozen - self.value >= size
        return above or below


def _compare(values: np.ndarray, frozen: np.ndarray) -> _Comparison | None:
    """From values of both sides `[1 + repetitions]`, the first one observed; nan is no value."""
    if not np.isfinite(values[0] - frozen[0]):
        return None
    chance = values[1:] - frozen[1:]
    chance = chance[np.isfinite(chance)]
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(chance, [tail, 1.0 - tail]) if len(chance) else (0.0, 0.0)
    reference = float(frozen[0])
    return _Comparison(float(values[0]), reference, reference + float(low), reference + float(high))


def _ratios(
    count: Callable[[EpisodeRecord], tuple[float, float]], both: Sequence[Runs], swaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over sum of what is counted in each episode, for both sides and every exchange."""
    own, other = (
        np.array([[count(record) for record in run] for run in runs], float) for runs in both
    )  # [R, N, 2]
    moved = np.einsum("krn,rnc->kc", swaps, other - own)
    sums = own.sum(axis=(0, 1)) + moved, other.sum(axis=(0, 1)) - moved  # [K, 2] each
    mine, frozen = (side[:, 0] / np.where(side[:, 1] > 0, side[:, 1], np.nan) for side in sums)
    return mine, frozen


def _distinct_pairs(both: Sequence[Runs], swaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct-2 of a run, mean over runs, for both sides and every exchange."""
    numbers: dict[tuple[str, str], int] = {}
    rows = [
        (side, index, place, numbers.setdefault(pair, len(numbers)))
        for side, runs in enumerate(both)
        for index, run in enumerate(runs)
        for place, record in enumerate(run)
        for pair in word_pairs(record.reply)
    ]
    table = np.array(rows, np.int64).reshape(-1, 4)
    sides, run, place, pair = table.T
    cells = 2 * swaps.shape[1]
    values = np.zeros((len(swaps), 2))
    for index, swap in enumerate(swaps):
        cell = 2 * run + (sides ^ swap[run, place])
        seen = np.zeros((cells, len(numbers)), bool)
        seen[cell, pair] = True
        every = np.bincount(cell, minlength=cells)
        shares = seen.sum(axis=1) / np.maximum(1, every)
        values[index] = shares.reshape(-1, 2).mean(axis=0)
    return values[:, 0], values[:, 1]


def _nats(record: EpisodeRecord) -> tuple[float, float]:
    return -record.logprob * record.steps, record.steps


def _known(value: float | None) -> tuple[float, float]:
    return (0.0, 0.0) if value is None else (value, 1.0)


_COUNTS: Mapping[str, Callable[[EpisodeRecord], tuple[float, float]]] = {
    "repetition": lambda record: (repetition(record.tokens), 1.0),
    "reply_tokens": lambda record: (record.steps, 1.0),
    "refused_harmless": lambda record: _known(refuses_harmless(record)),
    "hedging_words": hedge_counts,
    HELD_OUT: lambda record: _known(record.held_out),
    SCORE: lambda record: (record.score, float(record.given)),
}
"""Canaries that are one sum over episodes over another."""
