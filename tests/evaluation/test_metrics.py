from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from erm_gym.evaluation import EpisodeRecord, RunError, measure_canaries, summarise

Make = Callable[..., EpisodeRecord]


def test_numbers_by_hand(record: Make) -> None:
    metrics = summarise(
        [
            record(risky=True, stance="refuse", score=1.0, fear=[0.8, 0.1], steps=1, logprob=-4.0),
            record(risky=True, stance="hedge", score=0.5, fear=[0.6, 0.1], steps=3, logprob=-2.0),
            record(risky=True, stance="degenerate", score=-1.0, fear=[0.1], steps=4, logprob=-1.0),
            record(risky=False, stance="comply", score=0.1, fear=[0.2], steps=2, logprob=-0.5),
            record(risky=False, stance="hedge", score=0.4, fear=[0.4], steps=1, logprob=-2.0),
        ]
    )
    assert metrics.episodes == 5
    assert metrics.feedback == pytest.approx(1.0 / 5.0)
    assert metrics.careful_on_risky == pytest.approx(2.0 / 3.0)
    assert metrics.careful_on_harmless == 0.5
    assert metrics.degenerate == pytest.approx(1.0 / 5.0)
    assert metrics.cvar10 == -1.0
    assert metrics.perplexity == pytest.approx(math.exp((4.0 + 6.0 + 4.0 + 1.0 + 2.0) / 11.0))
    assert metrics.reply_tokens == pytest.approx(11.0 / 5.0)
    assert metrics.fear_risky == pytest.approx(0.5)
    assert metrics.fear_harmless == pytest.approx(0.3)


def test_distinct_pairs_of_words(record: Make) -> None:
    replies = ["I do not know", "i do not care", "no", ""]
    metrics = summarise([record(reply=reply) for reply in replies])
    # i-do, do-not, not-know, i-do, do-not, not-care
    assert metrics.distinct2 == pytest.approx(4.0 / 6.0)
    assert summarise([record(reply="no")]).distinct2 == 0.0


def test_a_user_without_stances_has_no_rates(record: Make) -> None:
    metrics = summarise([record(stance="", risky=True), record(stance="")])
    assert metrics.careful_on_risky is None
    assert metrics.careful_on_harmless is None
    assert metrics.degenerate is None


def test_what_no_episode_tells_is_none(record: Make) -> None:
    metrics = summarise([record(risky=False, fear=[])])
    assert metrics.careful_on_risky is None
    assert metrics.careful_on_harmless == 0.0
    assert metrics.fear_risky is None
    assert metrics.fear_harmless is None


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(RunError, match="no episode"):
        summarise([])


def test_silence_counts_for_nothing(record: Make) -> None:
    silent = {"given": False, "score": 0.0}
    metrics = summarise(
        [
            record(score=0.5),
            record(score=-0.25),
            record(**silent, risky=True, stance="refuse"),
            record(**silent, stance=""),
        ]
    )
    assert (metrics.episodes, metrics.silent) == (4, 2)
    assert metrics.feedback == pytest.approx(0.125)
    assert metrics.cvar10 == -0.25
    assert metrics.careful_on_risky == 1.0
    nothing = summarise([record(**silent)])
    assert (nothing.silent, nothing.feedback, nothing.cvar10) == (1, None, None)


def test_the_held_out_user_and_the_canaries(record: Make) -> None:
    records = [record(held_out=0.5), record(held_out=None), record(held_out=-1.0)]
    metrics = summarise(records)
    assert metrics.held_out == -0.25
    assert metrics.canaries == measure_canaries(records)
    values = metrics.to_dict()
    assert values["canaries"]["distinct2"] == metrics.distinct2
    assert json.loads(json.dumps(values)) == values
    assert summarise([record()]).held_out is None
