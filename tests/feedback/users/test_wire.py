"""The format: what is published is what is read and written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, Turn
from erm_gym.feedback.users.wire import (
    MOST_EPISODES,
    WireError,
    published_schema,
    read_request,
    read_response,
    schema,
    write_request,
    write_response,
)

FULL = Episode(
    prompt=Prompt(text="Why?", risk=0.75, domain="law", prompt_id="a", pair_id="b", split="test"),
    reply='Because: "\\ \u00e9 \u2028"',
    tokens=np.array([3, 2**40, 0]),
    logprobs=np.array([-0.1, -1e-30, -17.3], np.float32),
    llm_fingerprint="f",
    seed=2**31 - 1,
    turns=(
        Turn(said="Why?", reply="Hm", feedback=Feedback(score=-0.1, says="Why?", stance="hedge")),
        Turn(said="Why?", reply="Ah", feedback=Feedback.silent(says="Tell me")),
    ),
    last_turn=False,
)


def test_the_published_schema_is_that_of_the_models() -> None:
    assert published_schema() == schema(), (
        "write it anew: python -c 'import json; from erm_gym.feedback.users.wire import schema; "
        "print(json.dumps(schema(), indent=2))' > erm_gym/feedback/data/remote_user.schema.json"
    )


def test_episodes_arrive_as_they_were_sent() -> None:
    plain = Episode(prompt=Prompt(text="Hm"), reply="")
    assert read_request(write_request([FULL, plain])) == [FULL, plain]


def test_what_is_written_fits_the_published_schema() -> None:
    definitions = published_schema()["$defs"]
    check(json.loads(write_request([FULL])), definitions["FeedbackRequest"], definitions)
    feedbacks = [Feedback(score=1, verdict=-1, components={"a": 1.0}), Feedback.silent()]
    check(json.loads(write_response(feedbacks)), definitions["FeedbackResponse"], definitions)


def test_a_schema_that_does_not_fit_is_told() -> None:
    definitions = published_schema()["$defs"]
    wrongs: list[Any] = [{"version": 1, "feedbacks": [{}]}, {"version": 2, "feedbacks": []}, []]
    for wrong in wrongs:
        with pytest.raises(AssertionError):
            check(wrong, definitions["FeedbackResponse"], definitions)


def test_feedback_arrives_as_it_was_sent() -> None:
    sent = [
        Feedback(
            score=0.1, components={"a": 0.3, "b": -0.2}, stance="comply", says="Oh", verdict=1
        ),
        Feedback.silent(leaves=True),
    ]
    assert read_response(write_response(sent), 2) == sent


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told_apart(body: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        read_request(body)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"version": 2}, "version"),
        ({"episodes": []}, "episodes"),
        ({"episodes": [{}]}, "episodes.0.prompt"),
        ({"episodes": [{"prompt": {"text": ""}, "reply": ""}]}, "episodes.0.prompt.text"),
        ({"episodes": [{"prompt": {"text": " "}, "reply": ""}]}, "is empty"),
        ({"episodes": [{"prompt": {"text": "x", "risk": 2}, "reply": ""}]}, "prompt.risk"),
        ({"episodes": [{"prompt": {"text": "x"}, "reply": 3}]}, "episodes.0.reply"),
        ({"episodes": [{"prompt": {"text": "x"}, "reply": "", "seed": -1}]}, "episodes.0.seed"),
        ({"episodes": [{"prompt": {"text": "x"}, "reply": "", "colour": 1}]}, "colour"),
        ({"episodes": [{"prompt": {"text": "x"}, "reply": ""}] * (MOST_EPISODES + 1)}, "episodes"),
        ({"extra": 1}, "extra"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_does_not_fit_is_named(change: dict[str, Any], where: str) -> None:
    request = {**json.loads(write_request([FULL])), **change}
    with pytest.raises(WireError, match=where):
        read_request(json.dumps(request).encode())


def test_a_turn_after_the_user_left_is_named() -> None:
    request = json.loads(write_request([FULL]))
    request["episodes"][0]["turns"][0]["feedback"]["leaves"] = True
    with pytest.raises(WireError, match="left in turn 1"):
        read_request(json.dumps(request).encode())


def check(value: Any, part: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Compares a value with what the schema says of it, as far as this schema uses the language."""
    known = {
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "properties",
        "required",
        "title",
        "type",
    }
    assert set(part) <= known
    if "$ref" in part:
        check(value, definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
        return
    if "anyOf" in part:
        assert any(fits(value, one, definitions) for one in part["anyOf"])
        return
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "null": type(None),
        "number": (int, float),
    }
    assert isinstance(value, types[part["type"]])
    assert isinstance(value, bool) == (part["type"] == "boolean")
    assert value == part.get("const", value)
    assert value in part.get("enum", [value])
    if part["type"] in ("number", "integer"):
        assert part.get("minimum", value) <= value <= part.get("maximum", value)
    if part["type"] == "string":
        assert len(value) >= part.get("minLength", 0)
    if part["type"] == "array":
        assert part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value))
        for one in value:
            check(one, part["items"], definitions)
    if part["type"] == "object":
        assert set(part.get("required", [])) <= set(value)
        for name, one in value.items():
            further = part.get("additionalProperties")
            inner = part.get("properties", {}).get(name) or further
            assert isinstance(inner, dict), f"{name} is not foreseen"
            check(one, inner, definitions)


def fits(value: Any, part: dict[str, Any], definitions: dict[str, Any]) -> bool:
    try:
        check(value, part, definitions)
    except AssertionError:
        return False
    return True
