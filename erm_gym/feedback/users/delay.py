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
    single reply nothing can be delayed, as that turn is the last one, and environments refuse it.

    Words, leaving, the stance and the verdict are those on the present reply. Nothing is kept: the
    user is asked about an earlier reply again, from `Episode.turns`, where there are no hidden
    states any more. So it costs the user one more question per turn.
    """

    name: ClassVar[str] = "delay"
    settles: ClassVar[bool] = True
    needs_turns: ClassVar[bool] = True

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
        due = [  # for each episode, the earlier turns whose feedback arrives
            [
                turn
                for turn in turns_due(episode, self.turns, ends=episode.last_turn or answer.leaves)
                if turn < len(episode.turns)
            ]
            for episode, answer in zip(episodes, present, strict=True)
        ]
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


def turns_due(episode: Episode, delay: int, *, ends: bool) -> range:
    """Numbers of the turns on which feedback arrives at the present one.

    Args:
        episode: The present reply; its turn has the number `len(episode.turns)`.
        delay: Turns by which feedback is late, >= 0.
        ends: Whether the conversation ends now, so that all that is outstanding arrives.
    """
    now = len(episode.turns)
    return range(max(0, now - delay), (now if ends else now - delay) + 1)


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
    score, parts = added_up(given)
    return replace(present, score=score, components=parts, given=True)


def added_up(feedback: Sequence[Feedback]) -> tuple[float, dict[str, float]]:
    """Score and components of several feedbacks that arrive at once.

    What leaves [-1, 1] is cut, and the component `limit` is what was cut.

    Args:
        feedback: All are given, and itemised.
    """
    parts: dict[str, float] = {}
    for each in feedback:
        for part, value in each.components.items():
            parts[part] = parts.get(part, 0.0) + value
    total = sum(each.score for each in feedback)
    limited = min(1.0, max(-1.0, total))
    if limited != total:
        parts["limit"] = parts.get("limit", 0.0) + limited - total
    return limited, parts
