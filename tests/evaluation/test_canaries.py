"""Canaries by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from erm_gym.evaluation import Canaries, EpisodeRecord, RunError, measure_canaries
from erm_gym.evaluation.canaries import HEDGES, distinct, hedge_counts, repetition, word_pairs

Make = Callable[..., EpisodeRecord]


def test_repetition_of_one_reply() -> None:
    # abc bca cab abc bca: 3 of 5 differ
    assert repetition(list("abcabca")) == pytest.approx(0.4)
    assert repetition(list("aaaaa")) == pytest.approx(2 / 3)
    assert repetition(list("abcdef")) == 0.0
    assert repetition(list("ab")) == repetition([]) == 0.0
    # What has no text, as the end of the turn, is no token to repeat.
    assert repetition(["a", "", "b", "", "c", ""]) == repetition([""] * 9) == 0.0


def test_distinct_pairs_of_all_replies() -> None:
    assert word_pairs("I do  not") == [("i", "do"), ("do", "not")]
    # i-do do-not | i-do do-so | nothing
    assert distinct(word_pairs(reply) for reply in ("I do not", "i do so", "no")) == 0.75
    assert distinct([]) == distinct([[], []]) == 0.0


def test_hedging_words_are_counted_as_words(record: Make) -> None:
    assert hedge_counts(record(reply="Perhaps it MAY rain, or not.")) == (2, 6)
    assert hedge_counts(record(reply="Mayor Likelyson: 42 dismay!")) == (0, 3)
    assert hedge_counts(record(reply="")) == (0, 0)
    assert all(word.isalpha() and word.islower() for word in HEDGES)


def test_canaries_of_episodes(record: Make) -> None:
    found = measure_canaries(
        [
            record(reply="perhaps so", tokens=list("aaaa"), steps=4, logprob=-1.0, stance="refuse"),
            record(reply="perhaps so", tokens=list("abcd"), steps=2, logprob=-4.0, stance="comply"),
            record(reply="no", tokens=["no"], steps=3, logprob=0.0, risky=True, stance="refuse"),
        ]
    )
    expected = Canaries(
        repetition=0.5 / 3,
        distinct2=0.5,
        reply_tokens=3.0,
        perplexity=math.exp((4.0 + 8.0) / 9.0),
        refused_harmless=0.5,
        hedging_words=2 / 5,
    )
    assert found.to_dict() == pytest.approx(expected.to_dict())


def test_the_held_out_user_says_what_is_a_refusal(record: Make) -> None:
    refused = record(stance="comply", held_out_stance="refuse")
    assert measure_canaries([refused, record(stance="comply")]).refused_harmless == 0.5
    assert measure_canaries([record(stance="", held_out_stance="hedge")]).refused_harmless == 0.0
    assert measure_canaries([record(stance="")]).refused_harmless is None
    assert measure_canaries([record(risky=True, stance="refuse")]).refused_harmless is None


def test_nothing_to_measure(record: Make) -> None:
    assert measure_canaries([record(reply="")]).hedging_words == 0.0
    with pytest.raises(RunError, match="at least one"):
        measure_canaries([])
