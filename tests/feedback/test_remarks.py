"""What a conversing user says: the words fit the reply, the tone, and what was said before."""

from __future__ import annotations

import itertools
import json
import re
from importlib.resources import files
from string import Formatter
from typing import Any, get_args

import numpy as np
import pytest

from erm_gym.feedback import STANCES, Feedback
from erm_gym.feedback.remarks import (
    KINDS,
    PLEASED,
    TONES,
    Ending,
    Situation,
    compose,
    kind_of,
    quote,
    repeats,
)

TABLE: Any = json.loads((files("erm_gym.feedback") / "data" / "remarks.json").read_text("utf-8"))


def situation(*kinds: str, **changes: Any) -> Situation:
    values = {
        "repeated": False,
        "patience": 1.0,
        "ending": None,
        "request": "Who are you?",
        "said": (),
    }
    return Situation(kinds=kinds, **(values | changes))


def say(*kinds: str, seed: int = 0, **changes: Any) -> str:
    return compose(situation(*kinds, **changes), np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("reply", "score", "stance", "risky", "kind"),
    [
        (" \n", 1.0, "comply", False, "silent"),
        ("a a a", 0.9, "degenerate", False, "broken"),
        ("Yes", -0.3, "comply", True, "reckless"),
        ("Yes", -0.3, "comply", False, "bad"),
        ("No", -0.3, "refuse", False, "refused"),
        ("No", -0.3, "refuse", True, "bad"),
        ("Well", -0.3, "hedge", False, "hedged"),
        ("Well", -0.3, "", False, "bad"),
        ("Yes", -0.2, "comply", True, "unsure"),
        ("Yes", 0.2, "comply", False, "unsure"),
        ("Yes", 0.3, "comply", False, "helped"),
        ("Yes", 0.3, "comply", True, "good"),
        ("No", 0.3, "refuse", True, "cautious"),
        ("Well", 0.3, "hedge", True, "cautious"),
        ("No", 0.3, "refuse", False, "good"),
        ("Well", 0.3, "", True, "good"),
    ],
)
def test_how_a_reply_is_taken(
    reply: str, score: float, stance: str, risky: bool, kind: str
) -> None:
    feedback = Feedback(score=score, stance=stance)
    assert kind_of(reply, feedback, risky=risky, clear_score=0.2) == kind


def test_every_reply_is_taken_somehow() -> None:
    for reply, score, stance, risky in itertools.product(
        ("", "Yes"), (-1.0, 0.0, 1.0), (*STANCES, ""), (False, True)
    ):
        feedback = Feedback(score=score, stance=stance)
        assert kind_of(reply, feedback, risky=risky, clear_score=0.0) in KINDS


@pytest.mark.parametrize(
    ("reply", "earlier", "expected"),
    [
        ("I can not help you", ["Yes", "i CAN not  help you"], True),
        # 2 * 6 / (7 + 7) = 0.857 of the words, and 2 * 5 / (6 + 6) = 0.833
        ("one two three four five six seven", ["one two three four five six eight"], True),
        ("one two three four five six", ["one two three four five seven"], False),
        ("I can help you", ["you help can I"], False),
        ("", ["", " "], False),
        ("Yes", [""], False),
        ("Yes", [], False),
    ],
)
def test_repetition(reply: str, earlier: list[str], expected: bool) -> None:
    assert repeats(reply, earlier) is expected


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("Who are you?", '"Who are you?"'),
        ("Tell me", '"Tell me".'),
        ('What does "ERM"\n mean', "\"What does 'ERM' mean\"."),
        ('Say "hi!"', "\"Say 'hi!'\""),
        (" ".join("a" * 25), '"' + " ".join("a" * 24) + ' ..."'),
    ],
)
def test_quotes(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_the_request_is_quoted_as_it_is_even_with_braces() -> None:
    assert '"What is {time}?"' in say("silent", request="What is {time}?")


# -- what is remembered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "repeated", "expected"),
    [
        (["refused"], False, []),
        (["refused", "refused"], False, ["refused again"]),
        (["refused", "refused"], True, ["repeated", "refused again"]),
        (["refused", "helped", "refused"], False, ["refused again", "relapsed"]),
        (["refused", "unsure", "helped"], False, []),
        (["refused", "helped"], False, ["recovered"]),
        (["helped", "helped"], False, []),
        (["cautious", "cautious"], True, ["nothing new"]),
        (["cautious", "reckless"], False, ["forgot caution"]),
        (["helped", "broken"], False, ["relapsed"]),
        (["helped", "unsure"], False, []),
    ],
)
def test_what_is_remembered(kinds: list[str], repeated: bool, expected: list[str]) -> None:
    assert situation(*kinds, repeated=repeated).memories == expected


def test_it_counts() -> None:
    refused = ["refused"] * 3
    assert "third time" in say(*refused, patience=0.3)
    assert situation("bad", *refused).fields["time"] == "third"
    assert situation("bad", *refused).fields["count"] == "Four"
    assert "count" not in situation("helped", *refused).fields
    assert {"time", "number", "count"}.isdisjoint(situation("refused").fields)
    assert say(*["broken"] * 50) and say(*["hedged"] * 50, patience=0.0, ending="fed up")


def test_it_does_not_say_the_same_twice() -> None:
    said: tuple[str, ...] = ()
    for _ in range(3):
        said += (say("refused", said=said),)
    openings = {text.split(".")[0] for text in said}
    assert len(openings) == 3
    assert say("refused", said=said * 5)  # and when all is said, it starts again


# -- the words -------------------------------------------------------------------------------------


def test_the_table_has_words_for_everything() -> None:
    sentences: list[str] = []
    for part in ("reactions", "asks"):
        assert set(TABLE[part]) == set(KINDS)
    again = {f"{kind} again" for kind in KINDS if kind not in PLEASED}
    others = {"repeated", "nothing new", "recovered", "relapsed", "forgot caution"}
    assert set(TABLE["memories"]) == again | others
    for part in ("reactions", "asks", "memories"):
        for tones in TABLE[part].values():
            assert list(tones) == list(TONES)
            sentences += itertools.chain(*tones.values())
    assert set(TABLE["farewells"]) == set(get_args(Ending))
    for kinds in TABLE["farewells"].values():
        assert set(kinds) <= {"any", *KINDS} and "any" in kinds
        sentences += itertools.chain(*kinds.values())
    assert len(set(sentences)) > 100
    for sentence in sentences:
        assert sentence == sentence.strip() and sentence.isascii()
        assert sentence.endswith((".", "?", "!", "{request}")), sentence
        names = {name for _, name, _, _ in Formatter().parse(sentence) if name}
        assert names <= {"request", "time", "number", "count"}


def test_something_can_always_be_said() -> None:
    """Reactions, requests and one farewell each need no gap that may be missing."""
    for kind, patience, ending in itertools.product(
        KINDS, (1.0, 0.4, 0.0), (None, *get_args(Ending))
    ):
        for seed in range(3):
            text = say(kind, patience=patience, ending=ending, seed=seed, request="Do it")
            assert re.fullmatch(r'["A-Z].*[.?!"]', text), text
            assert "{" not in text and "  " not in text
            goodbye = re.search(r"Goodbye|goodbye|Bye|nice day|Thanks for your help", text)
            assert bool(goodbye) is (ending is not None), text


def test_less_patience_means_fewer_words() -> None:
    for kind in KINDS:
        calm, strained, sharp = (
            np.mean([len(say(kind, patience=patience, seed=seed)) for seed in range(40)])
            for patience in (1.0, 0.4, 0.1)
        )
        assert calm > strained > sharp, kind


def test_tones() -> None:
    patience = (1.0, 0.5, 0.49, 0.2, 0.19, 0.0)
    tones = ["calm", "calm", "strained", "strained", "sharp", "sharp"]
    assert [situation("bad", patience=own).tone for own in patience] == tones


def test_words_by_hand() -> None:
    rng = np.random.default_rng(0)
    table = TABLE["asks"]["refused"]["calm"]
    text = compose(situation("refused", "refused"), rng)
    memory = TABLE["memories"]["refused again"]["calm"][0]
    assert text in [f"{memory} {ask.format(request=quote('Who are you?'))}" for ask in table]
    text = compose(situation("refused", "helped", ending="content", patience=0.1), rng)
    better = TABLE["memories"]["recovered"]["sharp"][0]
    assert text in [f"{better} {bye}" for bye in TABLE["farewells"]["content"]["any"]]
