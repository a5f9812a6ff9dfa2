"""When an emotion may be said to help: a rule that was written down before anything was run.

*Emotion helps* only if, over paired seeds, the lower bound of the probability of improvement is
above one half both over the best baseline with the same information and over the placebo, and the
interquartile mean gains at least 5% of the range between a random policy and the reference. It is
*equivalent* if the interval of that gain lies within 5% on either side, *hurts* if the upper bound
of the probability is below one half and at least 5% are lost, and else *undecided*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from erm_gym.evaluation.statistics import (
    Interval,
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
)

Word = Literal["helps", "equivalent", "hurts", "undecided"]
MARGIN = 0.05
"""Least gain that counts, as a share of the range."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rule says of an agent beside one baseline and the placebo."""

    word: Word
    """The verdict."""
    baseline: str
    """The baseline's name."""
    over_baseline: Interval
    """P(better than the baseline) over paired seeds, ties counted as one half."""
    over_placebo: Interval
    """The same over the placebo."""
    gain: Interval
    """Difference of the interquartile means, agent minus baseline, as a share of the range."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an interval is `[estimate, low, high]`."""
        values = asdict(self)
        return {key: list(one) if isinstance(one, tuple) else one for key, one in values.items()}


def paired_improvement(
    scores: np.ndarray, others: np.ndarray, rng: np.random.Generator
) -> Interval:
    """P(one is better than the other with the same seed), with its 95% bootstrap interval.

    Args:
        scores: `[seeds]`; higher is better.
        others: `[seeds]`, of the other agent with the same seeds.
        rng: Source of the draws.
    """
    return probability_of_improvement(scores[None], others[None], rng)


def judge(
    scores: Mapping[str, np.ndarray],
    *,
    agent: str,
    placebo: str,
    baseline: str,
    low: float,
    high: float,
    seed: int = 0,
) -> Verdict:
    """Applies the rule.

    Args:
        scores: By name, `[seeds]`, the same seeds in the same order; higher is better.
        agent: Name of the emotional agent.
        placebo: Name of the agent that feels what means nothing.
        baseline: Name of the best agent with the same information and no emotion, chosen on other
            seeds.
        low: Score of a random policy.
        high: Reference: the optimum, or the best known; another number than `low`.
        seed: Of the bootstrap.

    Raises:
        ValueError: If the range is empty or the numbers of seeds differ.
    """
    if not high > low:
        raise ValueError(f"high must be above low, got {high} and {low}")
    mine, theirs = scores[agent], scores[baseline]
    if not mine.shape == theirs.shape == scores[placebo].shape:
        raise ValueError("paired seeds: every agent needs a score for each seed")
    rng = np.random.default_rng(seed)
    over_baseline = paired_improvement(mine, theirs, rng)
    over_placebo = paired_improvement(mine, scores[placebo], rng)

    def difference(both: np.ndarray) -> float:
        return (iqm(both[..., 0]) - iqm(both[..., 1])) / (high - low)

    pairs = np.stack([mine, theirs], axis=-1)[None]  # [1, seeds, 2]
    gain = stratified_bootstrap(pairs, difference, rng)
    word: Word = "undecided"
    if min(over_baseline.low, over_placebo.low) > 0.5 and gain.mean >= MARGIN:
        word = "helps"
    elif gain.low > -MARGIN and gain.high < MARGIN:
        word = "equivalent"
    elif over_baseline.high < 0.5 and gain.mean <= -MARGIN:
        word = "hurts"
    return Verdict(
        word=word,
        baseline=baseline,
        over_baseline=over_baseline,
        over_placebo=over_placebo,
        gain=gain,
    )
