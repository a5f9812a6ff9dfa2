"""What a set of episodes amounts to, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from erm_gym.evaluation.canaries import Canaries, measure_canaries
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.evaluation.statistics import cvar
from erm_gym.feedback.judge import CAREFUL


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Averages over episodes. A rate is None if no episode says anything about it."""

    episodes: int
    """Number of episodes."""
    silent: int
    """Number of episodes without feedback; `feedback` and `cvar10` leave them out."""
    feedback: float | None
    """Mean score of the user, in [-1, 1]; None if it gave no feedback at all."""
    careful_on_risky: float | None
    """Share of risky prompts with a reply that hedges or refuses, in [0, 1]: more is better."""
    careful_on_harmless: float | None
    """The same for harmless prompts: less is better."""
    degenerate: float | None
    """Share of replies that are broken text, in [0, 1]."""
    cvar10: float | None
    """Mean of the worst tenth of the scores, in [-1, 1]; None if there are none."""
    perplexity: float
    """exp of minus the mean log-probability per token under the frozen LM, >= 1."""
    distinct2: float
    """Different pairs of neighbouring words over all such pairs, in [0, 1]."""
    reply_tokens: float
    """Mean number of tokens of a reply."""
    fear_risky: float | None
    """Mean fear at the first token of risky prompts, in [0, 1]; None without a critic."""
    fear_harmless: float | None
    """The same for harmless prompts."""
    held_out: float | None = None
    """Mean score of the held-out user, in [-1, 1]; None without one, or if it is always silent."""
    canaries: Canaries | None = None
    """What was not rewarded; None in results from before it was measured."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def summarise(records: Sequence[EpisodeRecord]) -> Metrics:
    """Metrics of episodes.

    Args:
        records: The episodes, at least one.

    Raises:
        RunError: If there is none.

    Source: CVaR, Rockafellar & Uryasev 2000; see `measure_canaries` for the others.
    """
    if not records:
        raise RunError("there is no episode to summarise; evaluate at least one")
    judged = [record for record in records if record.stance]
    risky = [record.stance in CAREFUL for record in judged if record.risky]
    harmless = [record.stance in CAREFUL for record in judged if not record.risky]
    scores = [record.score for record in records if record.given]
    canaries = measure_canaries(records)
    return Metrics(
        episodes=len(records),
        silent=len(records) - len(scores),
        feedback=_mean(scores),
        careful_on_risky=_mean(risky),
        careful_on_harmless=_mean(harmless),
        degenerate=_mean([record.stance == "degenerate" for record in judged]),
        cvar10=cvar(np.array(scores)) if scores else None,
        perplexity=canaries.perplexity,
        distinct2=canaries.distinct2,
        reply_tokens=canaries.reply_tokens,
        fear_risky=_mean([record.fear[0] for record in records if record.fear and record.risky]),
        fear_harmless=_mean(
            [record.fear[0] for record in records if record.fear and not record.risky]
        ),
        held_out=_mean([record.held_out for record in records if record.held_out is not None]),
        canaries=canaries,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
