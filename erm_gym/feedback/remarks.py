"""What a simulated user says in a conversation: how it takes a reply, remembers, asks, leaves.

The words are in `erm_gym/feedback/data/remarks.json`; this file says which of them fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, Literal

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback

Ending = Literal["content", "fed up", "out of time"]
"""Why a conversation ends: the goal is met, patience is gone, or there is no further turn."""

KINDS = (
    "silent",
    "broken",
    "reckless",
    "refused",
    "hedged",
    "bad",
    "unsure",
    "helped",
    "cautious",
    "good",
)
"""How a user takes a reply.

silent, broken: no text, or none that makes sense. reckless: helped where care is due. refused,
hedged: care where none is due. helped, cautious: the same where it is right. bad, good: any other
reply that the user dislikes or likes. unsure: neither.
"""
PLEASED = ("helped", "cautious", "good")
TONES = {"calm": 0.5, "strained": 0.2, "sharp": 0.0}
"""How a user speaks, and the least patience that it takes."""
ALIKE = 0.85
"""Share of words in the same order from which two replies count as the same."""
LONGEST_QUOTE = 24
"""Words of the request that are quoted; what comes after them is left out."""
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def kind_of(reply: str, feedback: Feedback, *, risky: bool, clear_score: float) -> str:
    """How a user takes a reply: one of `KINDS`.

    Args:
        reply: What the assistant answered.
        feedback: Score and stance that the user gave it; the stance may be unknown.
        risky: Whether care was due.
        clear_score: Scores up to this far from 0 are neither good nor bad.
    """
    if not reply.strip():
        return "silent"
    if not feedback.given:
        return "unsure"
    if feedback.stance == "degenerate":
        return "broken"
    if feedback.score > clear_score:
        due = {"hedge": "cautious", "refuse": "cautious"} if risky else {"comply": "helped"}
        return due.get(feedback.stance, "good")
    if feedback.score < -clear_score:
        wrong = {"comply": "reckless"} if risky else {"hedge": "hedged", "refuse": "refused"}
        return wrong.get(feedback.stance, "bad")
    return "unsure"


def repeats(reply: str, earlier: Iterable[str]) -> bool:
    """Whether a reply says almost the same as an earlier one, word by word; silence does not."""
    words = reply.lower().split()
    return bool(words) and any(
        SequenceMatcher(None, words, other.lower().split(), autojunk=False).ratio() >= ALIKE
        for other in earlier
    )


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a remark depends on."""

    kinds: tuple[str, ...]
    """How the user took every reply so far, the one that it reacts to last; at least one."""
    repeated: bool
    """Whether the assistant said almost the same before."""
    patience: float
    """Patience that is left, in [0, 1]."""
    ending: Ending | None
    """Why the user leaves, if it does."""
    request: str
    """What it asked at first."""
    said: tuple[str, ...]
    """What it said since; it avoids saying the same sentence twice."""

    @classmethod
    def of(
        cls,
        episode: Episode,
        feedback: Feedback,
        *,
        patience: float,
        ending: Ending | None,
        clear_score: float,
    ) -> Situation:
        """The situation after a reply.

        Args:
            episode: The reply, and what came before it.
            feedback: What the user makes of it.
            patience: Patience that is left, in [0, 1].
            ending: Why the user leaves, if it does.
            clear_score: Scores up to this far from 0 are neither good nor bad.
        """
        replies = [(turn.reply, turn.feedback) for turn in episode.turns]
        return cls(
            kinds=tuple(
                kind_of(reply, own, risky=episode.prompt.risky, clear_score=clear_score)
                for reply, own in [*replies, (episode.reply, feedback)]
            ),
            repeated=repeats(episode.reply, (reply for reply, _ in replies)),
            patience=patience,
            ending=ending,
            request=episode.prompt.text,
            said=tuple(turn.feedback.says for turn in episode.turns),
        )

    @property
    def tone(self) -> str:
        """One of `TONES`."""
        return next(tone for tone, least in TONES.items() if self.patience >= least)

    @property
    def memories(self) -> list[str]:
        """What the user may refer back to, most telling first."""
        *before, kind = self.kinds
        pleased = kind in PLEASED
        found = []
        if self.repeated:
            found.append("nothing new" if pleased else "repeated")
        if kind in before and not pleased:
            found.append(f"{kind} again")
        if before and pleased and before[-1] not in (*PLEASED, "unsure"):
            found.append("recovered")
        if before and before[-1] in PLEASED and not pleased and kind != "unsure":
            forgot = kind == "reckless" and before[-1] == "cautious"
            found.append("forgot caution" if forgot else "relapsed")
        return found

    @property
    def fields(self) -> Mapping[str, str]:
        """Values that a sentence may have gaps for; one without a value cannot be said."""
        values = {"request": quote(self.request)}
        times, count = self.kinds.count(self.kinds[-1]), len(self.kinds)
        if 2 <= times < 2 + len(ORDINALS):
            values |= {"time": ORDINALS[times - 2], "number": NUMBERS[times - 2]}
        if 2 <= count < 2 + len(NUMBERS) and not set(PLEASED) & set(self.kinds):
            values["count"] = NUMBERS[count - 2].capitalize()
        return values


def compose(situation: Situation, rng: np.random.Generator) -> str:
    """What the user says: how it takes the reply, what it remembers, and what it asks next.

    It remembers instead of reacting if there is something to remember; a calm and pleased user
    does both, and one that leaves says goodbye instead of asking. Among the sentences that fit it
    prefers those not said before.

    Args:
        situation: What the words depend on.
        rng: Decides among sentences that fit equally well.

    Returns:
        One to a few sentences; never empty.
    """
    table, kind, tone = _table(), situation.kinds[-1], situation.tone
    remembered = ""
    for memory in situation.memories:
        if remembered := _choose(table["memories"][memory][tone], situation, rng, new=True):
            break
    if situation.ending is not None:
        goodbyes = table["farewells"][situation.ending]
        parts = [remembered, _choose(goodbyes.get(kind, goodbyes["any"]), situation, rng)]
    else:
        reaction = _choose(table["reactions"][kind][tone], situation, rng)
        ask = _choose(table["asks"][kind][tone], situation, rng)
        both = tone == "calm" and kind in PLEASED
        parts = [reaction, remembered, ask] if both else [remembered or reaction, ask]
    return " ".join(part for part in parts if part)


def quote(text: str) -> str:
    """A text in double quotes that may end a sentence: on one line, and not too long."""
    words = text.replace('"', "'").split()
    if len(words) > LONGEST_QUOTE:
        words = [*words[:LONGEST_QUOTE], "..."]
    quoted = " ".join(words)
    return f'"{quoted}"' + ("" if quoted.rstrip("'").endswith((".", "?", "!")) else ".")


def _choose(
    sentences: Sequence[str], situation: Situation, rng: np.random.Generator, *, new: bool = False
) -> str:
    """One of the sentences that can be said, if possible a new one; with `new` only such a one."""
    fields = situation.fields
    possible = [
        sentence.format(**fields)
        for sentence in sentences
        if all(name is None or name in fields for _, name, _, _ in Formatter().parse(sentence))
    ]
    fresh = [text for text in possible if not any(text in before for before in situation.said)]
    if new and not fresh:
        return ""
    fitting = fresh or possible
    return fitting[int(rng.integers(len(fitting)))]


@cache
def _table() -> Any:
    return json.loads(
        (files("erm_gym.feedback") / "data" / "remarks.json").read_text(encoding="utf-8")
    )
