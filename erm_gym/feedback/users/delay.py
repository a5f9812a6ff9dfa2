"""Feedback that comes turns later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.stage import Stage, itemised

NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Delay(Stage):
    """Gives the feedback on a reply some turns later in the conversation.

    At turn t arrives the feedback on the reply of turn t - `turns`; before there is any, the user
    says nothing of it. At the last turn all that is outstanding arrives at once and is added up;
    what leaves [-1, 1] is cut, and the component `limit` is what was cut. Where an episode is a
    single reply its feedback is not delayed, as that turn is the last one.

    Words, leaving, the stance and the verdict are those on the present reply. Nothing is kept: the
    user is asked about an earlier reply again, from `Episode.turns`, where there are no hidden
    states any more. So it costs the user one more question per turn.
    """

    name: ClassVar[str] = "delay"
    settles: ClassVar[bool] = True

    turns: int
    """Number of turns by which feedback is late, >= 1."""

    def __post_init__(self) -> None:
        """Checks the range."""
        if isinstance(self.turns, bool) or not isinstance(self.turns, int) or self.turns < 1:
            raise UserError(f"delay: turns must be a whole number from 1, got {self.turns!r}")

    async def answer(
        self, user: Askable, number: int, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> list[Feedback]:
        """Asks about the present replies, then about those whose feedback arrives now."""
        present = await user.answer(episodes, rng)
        due: list[list[int]] = []  # for each episode, the earlier turns whose feedback arrives
        for episode, answer in zip(episodes, present, strict=True):
            now, first = len(episode.turns), max(0, len(episode.turns) - self.turns)
            ends = episode.last_turn or answer.leaves
            due.append(list(range(first, now if ends else now - self.turns + 1)))
        earlier = [
            reply_at(episode, turn)
            for episode, turns in zip(episodes, due, strict=True)
            for turn in turns
        ]
        asked = iter(await user.answer(earlier, rng) if earlier else [])
        answers = []
        for episode, answer, turns in zip(episodes, present, due, strict=True):
            arrived = [next(asked) for _ in turns]
            if episode.last_turn or answer.leaves:
                arrived.append(answer)
            answers.append(_arriving(answer, arrived, user.name))
        return answers


def reply_at(episode: Episode, turn: int) -> Episode:
    """An earlier reply of a conversation, as the user saw it then, but for what a model felt."""
    then = episode.turns[turn]
    return replace(
        episode,
        reply=then.reply,
        tokens=NOTHING.astype(np.int64),
        logprobs=NOTHING.astype(np.float32),
        hidden=None,
        turns=episode.turns[:turn],
        last_turn=False,
    )


def _arriving(present: Feedback, arrived: Sequence[Feedback], name: str) -> Feedback:
    """The present answer with the scores that arrive."""
    fallback = present.fallback or any(feedback.fallback for feedback in arrived)
    present = replace(present, fallback=fallback)
    given = [itemised(feedback, name) for feedback in arrived if feedback.given]
    if not given:
        return replace(present, score=0.0, components={}, given=False)
    parts: dict[str, float] = {}
    for feedback in given:
        for part, value in feedback.components.items():
            parts[part] = parts.get(part, 0.0) + value
    total = sum(feedback.score for feedback in given)
    limited = min(1.0, max(-1.0, total))
    if limited != total:
        parts["limit"] = parts.get("limit", 0.0) + limited - total
    return replace(present, score=limited, components=parts, given=True)
