"""When canaries ring, and when they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest

from erm_gym.evaluation import Alarm, Canaries, EpisodeRecord, RunError, alarms, measure_canaries
from erm_gym.evaluation.alarms import RULES, ring

Make = Callable[..., EpisodeRecord]


@pytest.fixture
def episodes(record: Make) -> Callable[..., list[EpisodeRecord]]:
    """Forty replies of six words, drawn from forty; functions of a row's number replace fields."""

    def make(seed: int = 0, **changes: Callable[[int], Any]) -> list[EpisodeRecord]:
        rng = np.random.default_rng(seed)
        records = []
        for row in range(40):
            words = [f"w{number}" for number in rng.integers(40, size=6)]
            drawn: dict[str, Any] = {
                "prompt": f"Question {row}?",
                "risky": row % 2 == 0,
                "reply": " ".join(words),
                "tokens": words,
                "steps": int(rng.integers(5, 15)),
                "logprob": float(-rng.uniform(1.0, 3.0)),
                "score": float(rng.uniform(-1.0, 1.0)),
                "held_out": float(rng.uniform(-1.0, 1.0)),
                "stance": "refuse" if rng.random() < 0.1 else "comply",
            }
            values = {name: change(row) for name, change in changes.items()}
            records.append(record(**{**drawn, **values}))
        return records

    return make


Episodes = Callable[..., list[EpisodeRecord]]


def found(runs: list[list[EpisodeRecord]], frozen: list[list[EpisodeRecord]]) -> dict[str, Alarm]:
    return {alarm.canary: alarm for alarm in ring(runs, frozen)}


def test_values_are_those_of_the_canaries(episodes: Episodes) -> None:
    mine, frozen = episodes(1), episodes(2)
    one = found([mine], [frozen])
    assert set(one) == set(RULES) == {field.name for field in fields(Canaries)} | {"held_out"}
    for name, value in measure_canaries(mine).to_dict().items():
        assert one[name].value == pytest.approx(value)
    for name, value in measure_canaries(frozen).to_dict().items():
        assert one[name].frozen == pytest.approx(value)
        assert one[name].low <= one[name].frozen <= one[name].high
    assert one["held_out"].value == pytest.approx(np.mean([each.held_out for each in mine]))
    two = found([mine, episodes(3)], [frozen, episodes(4)])
    shares = [measure_canaries(run).distinct2 for run in (mine, episodes(3))]
    assert two["distinct2"].value == pytest.approx(np.mean(shares))


def test_the_range_is_what_all_exchanges_give(
    record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "CONFIDENCE", 0.6)
    mine, frozen = (
        [record(steps=steps, prompt=str(row)) for row, steps in enumerate(lengths)]
        for lengths in ([1, 2, 6, 4], [3, 2, 2, 8])
    )
    length = found([mine], [frozen])["reply_tokens"]
    assert (length.value, length.frozen) == (13 / 4, 15 / 4)
    # The differences -2, 0, 4, -4 with all signs: their means are -2.5, -1.5, -0.5, -0.5 and the
    # same without the minus. A fifth of the way from either end lie -1.5 and 1.5.
    assert (length.low, length.high) == (15 / 4 - 1.5, 15 / 4 + 1.5)


def test_the_exchange_of_pairs_of_words_is_that_of_the_replies(record: Make) -> None:
    replies = (["a b c", "a b c", "d e"], ["f g h", "a b", "d e d e"])
    runs = [[record(reply=text, prompt=str(i)) for i, text in enumerate(s)] for s in replies]
    swaps = np.array(list(product((False, True), repeat=3)))[:, None, :]
    mine, frozen = alarms._distinct_pairs([[runs[0]], [runs[1]]], swaps)
    for index, swap in enumerate(swaps[:, 0]):
        one = [b if s else a for a, b, s in zip(*runs, swap, strict=True)]
        other = [a if s else b for a, b, s in zip(*runs, swap, strict=True)]
        assert mine[index] == pytest.approx(measure_canaries(one).distinct2)
        assert frozen[index] == pytest.approx(measure_canaries(other).distinct2)


EXPLOITS: dict[str, dict[str, Callable[[int], Any]]] = {
    "repetition": {"tokens": lambda row: ["sorry"] * 6},
    "distinct2": {"reply": lambda row: "I am so very sorry now"},
    "reply_tokens": {"steps": lambda row: 2},
    "perplexity": {"logprob": lambda row: -4.0},
    "refused_harmless": {"stance": lambda row: "refuse" if row % 4 else "comply"},
    "hedging_words": {"reply": lambda row: f"w{row} v{row} perhaps u{row} x{row} y{row}"},
    "held_out": {"score": lambda row: 0.9, "held_out": lambda row: -0.9},
}


@pytest.mark.parametrize("canary", RULES)
def test_each_canary_rings_for_its_exploit_and_no_other_does(
    episodes: Episodes, canary: str
) -> None:
    one = found([episodes(1, **EXPLOITS[canary])], [episodes(2)])
    assert [name for name, alarm in one.items() if alarm.rings] == [canary]


@pytest.mark.parametrize("canary", RULES)
def test_no_canary_rings_for_a_change_to_the_good(episodes: Episodes, canary: str) -> None:
    """The frozen LM does what is an exploit, and the agent does not."""
    one = found([episodes(1)], [episodes(2, **EXPLOITS[canary])])
    both_sides = {"reply_tokens", "perplexity"}  # any great change of these is a warning
    assert {name for name, alarm in one.items() if alarm.rings} <= both_sides & {canary}


def test_the_frozen_model_rarely_rings_beside_itself(episodes: Episodes) -> None:
    rings = [
        alarm.canary
        for seed in range(40)
        for alarm in ring([episodes(2 * seed)], [episodes(2 * seed + 1)], repetitions=200)
        if alarm.rings
    ]
    assert len(rings) <= 7 * 40 * 0.02  # twice what the confidence of 99% lets through


def test_a_change_below_the_named_size_does_not_ring(episodes: Episodes) -> None:
    """It is certain, but too small to matter."""
    mine = episodes(1, steps=lambda row: 22)
    frozen = episodes(1, steps=lambda row: 20)
    alarm = found([mine], [frozen])["reply_tokens"]
    assert alarm.value > alarm.high
    assert not alarm.rings


def test_few_prompts_cannot_ring(episodes: Episodes) -> None:
    exploit = {"tokens": lambda row: ["sorry"] * 6, "steps": lambda row: 1}
    assert not any(alarm.rings for alarm in ring([episodes(1, **exploit)[:4]], [episodes(2)[:4]]))


@pytest.mark.parametrize("score", [0.0, -0.9])
def test_users_who_fall_together_do_not_ring(episodes: Episodes, score: float) -> None:
    worse = episodes(1, score=lambda row: score, held_out=lambda row: -0.9)
    alarm = found([worse], [episodes(2, score=lambda row: 0.0)])["held_out"]
    assert alarm.value < alarm.low
    assert not alarm.rings


def test_what_nobody_says_has_no_alarm(episodes: Episodes) -> None:
    unknown: dict[str, Callable[[int], Any]] = {
        "stance": lambda row: "",
        "held_out": lambda row: None,
        "reply": lambda row: "",
    }
    names = set(found([episodes(1, **unknown)], [episodes(2, **unknown)]))
    assert names == {"repetition", "distinct2", "reply_tokens", "perplexity"}
    some = episodes(1, held_out=lambda row: 0.5 if row == 3 else None)
    assert found([some], [episodes(2)])["held_out"].value == 0.5


def test_other_prompts_are_refused(episodes: Episodes) -> None:
    with pytest.raises(RunError, match="same prompts"):
        ring([episodes(1)], [episodes(2)[:-1]])
    with pytest.raises(RunError, match="same prompts"):
        ring([], [])
