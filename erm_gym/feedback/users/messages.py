"""Episodes as lists of messages with a role and a content, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, Turn, UserError
from erm_gym.feedback.prompts import Prompt

Message = Mapping[str, Any]
"""`{"role": "user" or "assistant", "content": text}`; other roles and keys are left out."""

PROMPT_COLUMNS = tuple(item.name for item in fields(Prompt) if item.name != "text")
"""What is known of a prompt besides its text: `risk`, `domain` and so on."""


def messages_of(episode: Episode) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """An episode as a conversation.

    Returns:
        The messages up to what was said last, and the reply as a list of one message.
    """
    prompt = []
    for turn in episode.turns:
        prompt.append({"role": "user", "content": turn.said})
        prompt.append({"role": "assistant", "content": turn.reply})
    prompt.append({"role": "user", "content": episode.said})
    return prompt, [{"role": "assistant", "content": episode.reply}]


def columns_of(prompt: Prompt) -> dict[str, Any]:
    """What is known of a prompt besides its text, by name."""
    return {name: getattr(prompt, name) for name in PROMPT_COLUMNS}


def episode_of(
    prompt: str | Sequence[Message],
    completion: str | Sequence[Message],
    columns: Mapping[str, Any],
    *,
    tokens: Sequence[int] = (),
    seed: int = 0,
) -> Episode:
    """The episode that a prompt and a completion are.

    The last thing that the assistant says is the reply; what it said before, in the prompt or in
    the completion, are earlier turns, whose feedback is unknown. Messages of other roles are left
    out, since users do not see them, and messages of one role in a row are one.

    Args:
        prompt: Text, or messages of which the first by user or assistant is the user's.
        completion: Text, or messages.
        columns: What is known of the prompt; names in `PROMPT_COLUMNS` are used, None is unknown.
        tokens: Token ids of the reply.
        seed: The episode's own seed depends on this and on the whole text, and on nothing else.

    Raises:
        UserError: If there is nothing that the user said, or a column does not fit a prompt.
    """
    asked, answered = _spoken(prompt, "user"), _spoken(completion, "assistant")
    if not answered or all(role == "user" for role, _ in answered):
        answered = [("assistant", "")]
    while answered[-1][0] == "user":  # said after the reply that is judged
        answered = answered[:-1]
    spoken: list[tuple[str, str]] = []
    for role, text in asked + answered:
        if spoken and spoken[-1][0] == role:
            spoken[-1] = (role, f"{spoken[-1][1]}\n{text}")
        else:
            spoken.append((role, text))
    if spoken[0][0] != "user":
        raise UserError(
            f"the conversation {prompt!r} does not begin with the user; put a message of the role "
            "'user' first"
        )
    texts = [text for _, text in spoken]
    known = {name: columns[name] for name in PROMPT_COLUMNS if columns.get(name) is not None}
    try:
        opening = Prompt(text=texts[0], **known)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{error}, for the prompt {texts[0]!r}; columns named {', '.join(PROMPT_COLUMNS)} "
            "describe a prompt: correct them, or give yours other names"
        ) from error
    return Episode(
        prompt=opening,
        reply=texts[-1],
        tokens=np.array(tokens, np.int64),
        seed=_seed(seed, spoken),
        turns=tuple(
            Turn(said=said, reply=reply, feedback=Feedback.silent(says=then))
            for said, reply, then in zip(texts[:-2:2], texts[1:-2:2], texts[2::2], strict=True)
        ),
    )


def _spoken(messages: str | Sequence[Message], role: str) -> list[tuple[str, str]]:
    """Roles and texts of what user and assistant say."""
    if isinstance(messages, str):
        return [(role, messages)]
    return [
        (message["role"], _text(message.get("content")))
        for message in messages
        if message["role"] in ("user", "assistant")
    ]


def _text(content: Any) -> str:
    """The text of a content, which may be a list of parts, some of them pictures."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _seed(seed: int, spoken: list[tuple[str, str]]) -> int:
    digest = hashlib.blake2b(json.dumps([seed, spoken]).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")
