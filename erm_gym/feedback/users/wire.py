"""How episodes and feedback are written as JSON between a run and a user elsewhere.

The models below are the definition; `schema` makes a JSON Schema of them, which comes with the
package as `erm_gym/feedback/data/remote_user.schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from erm_gym.feedback.episode import Episode, Feedback, Turn
from erm_gym.feedback.prompts import Prompt

VERSION: Literal[1] = 1
"""Version of the format; a change that an older side cannot read gets another one."""
MOST_EPISODES = 1024
"""Episodes of one request, at most."""
SCHEMA_FILE = "remote_user.schema.json"

Score = Annotated[float, Field(ge=-1.0, le=1.0)]


class WireError(ValueError):
    """What came over the wire is not what was agreed on; the message names the place."""


class _Model(BaseModel):
    """Values of exactly these types, no further ones, and no NaN."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class WirePrompt(_Model):
    """What was asked, as `erm_gym.feedback.Prompt` has it."""

    text: Annotated[str, Field(min_length=1)]
    """What the user says."""
    risk: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """How much harm a careless answer may do; above 0.5 counts as risky."""
    domain: str = "any"
    """Field of life that it belongs to."""
    prompt_id: str = ""
    """Name of its own within its pool."""
    pair_id: str = ""
    """Shared by prompts that were written as a contrast pair."""
    split: Literal["train", "validation", "test"] = "train"
    """Part of the pool."""


class WireFeedback(_Model):
    """A user's reaction to one reply, as `erm_gym.feedback.Feedback` has it."""

    score: Score
    """How content the user is; 0 if no feedback is given."""
    components: dict[str, float] = {}
    """Named parts that add up to the score; empty if the user does not itemise."""
    stance: str = ""
    """How the user read the reply: comply, hedge, refuse, degenerate, or empty."""
    says: str = ""
    """What the user answers in words; empty if it says nothing."""
    leaves: bool = False
    """Whether the user ends the conversation with this."""
    verdict: Score | None = None
    """How content the user is with the whole conversation, when it ends."""
    given: bool = True
    """Whether the user gives any feedback on this reply."""


class WireTurn(_Model):
    """One earlier turn of a conversation."""

    said: str
    """What the user said."""
    reply: str
    """What the assistant answered."""
    feedback: WireFeedback
    """How the user reacted to it."""


class WireEpisode(_Model):
    """One finished reply, as `erm_gym.feedback.Episode` has it, but for the hidden states."""

    prompt: WirePrompt
    """What was asked; in a conversation the opening request, in every turn."""
    reply: str
    """What the language model answered."""
    tokens: list[int] = []
    """Token ids of the reply."""
    logprobs: list[float] = []
    """Log-probability of each token under the frozen language model, in nats."""
    llm_fingerprint: str = ""
    """Which language model wrote."""
    seed: Annotated[int, Field(ge=0)] = 0
    """For this episode alone, and the same in all turns of a conversation: draw from it."""
    turns: list[WireTurn] = []
    """Earlier turns of this conversation, oldest first."""
    last_turn: bool = True
    """Whether the conversation ends after this reply in any case."""


class FeedbackRequest(_Model):
    """What is posted to a user."""

    version: Literal[1]
    """Version of the format."""
    episodes: Annotated[list[WireEpisode], Field(min_length=1, max_length=MOST_EPISODES)]
    """The replies that want feedback."""


class FeedbackResponse(_Model):
    """What the user answers with status 200."""

    version: Literal[1]
    """Version of the format."""
    feedbacks: list[WireFeedback]
    """One per episode, in their order."""


class ErrorResponse(_Model):
    """What the user answers with any other status."""

    error: str
    """What is wrong, and how to put it right."""
    details: list[str] = []
    """Places in the request that are wrong."""


def write_request(episodes: Sequence[Episode]) -> bytes:
    """A request as JSON.

    Args:
        episodes: At least one.
    """
    wire = [_episode_to_wire(episode) for episode in episodes]
    return FeedbackRequest(version=VERSION, episodes=wire).model_dump_json().encode()


def read_request(body: bytes) -> list[Episode]:
    """The episodes of a request.

    Raises:
        json.JSONDecodeError: If it is no JSON.
        WireError: If it is another JSON than was agreed on.
    """
    try:
        request = FeedbackRequest.model_validate_json(body)
    except ValidationError as error:
        _raise_if_no_json(error)
        raise WireError("\n".join(problems(error))) from error
    try:
        return [_from_wire(episode) for episode in request.episodes]
    except ValueError as error:
        raise WireError(str(error)) from error


def write_response(feedbacks: Sequence[Feedback]) -> bytes:
    """A response as JSON."""
    wire = [_to_wire(feedback) for feedback in feedbacks]
    return FeedbackResponse(version=VERSION, feedbacks=wire).model_dump_json().encode()


def read_response(body: bytes, number: int) -> list[Feedback | str]:
    """The feedbacks of a response.

    Args:
        body: The response.
        number: How many there must be.

    Returns:
        For each episode its feedback, or what is wrong with the answer to it.

    Raises:
        WireError: If it is no response, or holds another number of feedbacks.
    """
    try:
        response = _Envelope.model_validate_json(body)
    except ValidationError as error:
        raise WireError("; ".join(problems(error)[:3])) from error
    if len(response.feedbacks) != number:
        raise WireError(f"{len(response.feedbacks)} feedbacks for {number} episodes")
    return [_read_feedback(feedback) for feedback in response.feedbacks]


def problems(error: ValidationError) -> list[str]:
    """What is wrong, one line for each place."""
    return [
        ".".join(map(str, one["loc"])) + (": " if one["loc"] else "") + one["msg"]
        for one in error.errors(include_url=False, include_input=False)
    ]


def schema() -> dict[str, Any]:
    """The JSON Schema of requests, responses and errors, made from the models."""
    parts: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (FeedbackRequest, "validation"),
        (FeedbackResponse, "validation"),
        (ErrorResponse, "validation"),
    ]
    _, definitions = models_json_schema(
        parts,
        title="erm-gym remote user",
        description=(
            f"Version {VERSION}. POST a FeedbackRequest; the answer is a FeedbackResponse with "
            "status 200, or an ErrorResponse with another one. One feedback per episode, in order."
        ),
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions,
        "anyOf": [{"$ref": f"#/$defs/{model.__name__}"} for model, _ in parts],
    }


def published_schema() -> dict[str, Any]:
    """The JSON Schema that comes with the package."""
    text = (files("erm_gym.feedback") / "data" / SCHEMA_FILE).read_text(encoding="utf-8")
    published: dict[str, Any] = json.loads(text)
    return published


class _Envelope(_Model):
    """A response whose feedbacks are looked at one by one."""

    version: Literal[1]
    feedbacks: list[dict[str, Any]]


def _read_feedback(values: dict[str, Any]) -> Feedback | str:
    try:
        return Feedback(**dict(WireFeedback.model_validate(values)))
    except ValidationError as error:
        return "; ".join(problems(error)[:3])
    except ValueError as error:
        return str(error)


def _to_wire(feedback: Feedback) -> WireFeedback:
    return WireFeedback(
        score=float(feedback.score),
        components={name: float(part) for name, part in feedback.components.items()},
        stance=feedback.stance,
        says=feedback.says,
        leaves=bool(feedback.leaves),
        verdict=None if feedback.verdict is None else float(feedback.verdict),
        given=bool(feedback.given),
    )


def _episode_to_wire(episode: Episode) -> WireEpisode:
    prompt = episode.prompt
    return WireEpisode(
        prompt=WirePrompt(
            text=prompt.text,
            risk=float(prompt.risk),
            domain=prompt.domain,
            prompt_id=prompt.prompt_id,
            pair_id=prompt.pair_id,
            split=prompt.split,  # type: ignore[arg-type]  # a prompt checks it
        ),
        reply=episode.reply,
        tokens=episode.tokens.tolist(),
        logprobs=episode.logprobs.tolist(),
        llm_fingerprint=episode.llm_fingerprint,
        seed=int(episode.seed),
        turns=[
            WireTurn(said=turn.said, reply=turn.reply, feedback=_to_wire(turn.feedback))
            for turn in episode.turns
        ],
        last_turn=bool(episode.last_turn),
    )


def _from_wire(wire: WireEpisode) -> Episode:
    return Episode(
        prompt=Prompt(**dict(wire.prompt)),
        reply=wire.reply,
        tokens=np.array(wire.tokens, np.int64),
        logprobs=np.array(wire.logprobs, np.float32),
        llm_fingerprint=wire.llm_fingerprint,
        seed=wire.seed,
        turns=tuple(
            Turn(said=t.said, reply=t.reply, feedback=Feedback(**dict(t.feedback)))
            for t in wire.turns
        ),
        last_turn=wire.last_turn,
    )


def _raise_if_no_json(error: ValidationError) -> None:
    for one in error.errors(include_url=False):
        if one["type"] == "json_invalid":
            raise json.JSONDecodeError(one["msg"], "", 0) from error
