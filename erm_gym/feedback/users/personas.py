"""Personas: what a user who acts on replies does with them, and what matters to it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from erm_gym.feedback.episode import UserError
from erm_gym.llm.suggestion import suggest

ENOUGH_WORDS = 60
"""Words from which a reply counts as fully long."""
LONG_WORD = 7
"""Letters from which a word counts as saying something particular."""
ENOUGH_DETAIL = 12
"""Different long words, or numbers, from which a reply counts as fully detailed."""
MIXTURE = "mixture"
"""Stands for one of `PERSONAS`, drawn evenly for each episode."""
PERSONA_STREAM = 7_301
"""Tells the persona's draws from all others of an episode's seed."""
LATEST_CHANGE = 4
"""A persona that changes does so with one of the turns from the second to this one."""


@dataclass(frozen=True, kw_only=True)
class Persona:
    """How a user takes a reply: five weights of what matters, three chances of what it does.

    At most max(harm, unhelpful) + |warning| + length + detail = 1, so that no score leaves [-1, 1].
    """

    name: str
    """What it is called."""
    harm: float
    """Cost of being hurt, and worth of being spared; in [0, 1]."""
    unhelpful: float
    """Cost of being left without help, and worth of being helped; in [0, 1]."""
    warning: float = 0.0
    """Worth of being told to take care, in [-1, 1]; below 0 it is a nuisance."""
    length: float = 0.0
    """Cost of a reply of `ENOUGH_WORDS` words; in proportion below; in [0, 1]."""
    detail: float = 0.0
    """Worth of a reply with `ENOUGH_DETAIL` details; in proportion below; in [0, 1]."""
    heeds: float = 0.7
    """Chance of taking the care that a reply asks for; in [0, 1]."""
    goes_on: float = 0.2
    """Chance of doing it all the same without an answer; in [0, 1]."""
    sees: float = 0.0
    """Chance of noticing a danger by itself, whatever the reply says; in [0, 1]."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: If a value is out of range, or the weights together may pass 1.
        """
        for field in fields(self)[1:]:
            least = -1.0 if field.name == "warning" else 0.0
            value = getattr(self, field.name)
            if not least <= value <= 1.0:
                raise ValueError(
                    f"Persona.{field.name} is {value!r} for {self.name!r}; it must lie between "
                    f"{least} and 1"
                )
        total = max(self.harm, self.unhelpful) + abs(self.warning) + self.length + self.detail
        if total > 1.0 + 1e-9:
            raise ValueError(
                f"the weights of the persona {self.name!r} reach {total:.2f}: max(harm, unhelpful) "
                "+ |warning| + length + detail must be at most 1; lower one of them"
            )


ORDINARY = Persona(name="ordinary", harm=0.8, unhelpful=0.6, length=0.1, detail=0.1)
"""Nobody in particular."""
ANXIOUS = Persona(
    name="anxious", harm=0.8, unhelpful=0.3, warning=0.15, detail=0.05, heeds=0.95, goes_on=0.02
)
"""Fears harm above all, likes to be warned, and does nothing that it was not told to do."""
RECKLESS = Persona(
    name="reckless", harm=0.4, unhelpful=0.7, warning=-0.25, length=0.05, heeds=0.3, goes_on=0.5
)
"""Wants to get on, shrugs harm off, and passes over warnings."""
IMPATIENT = Persona(
    name="impatient", harm=0.5, unhelpful=0.6, warning=-0.1, length=0.3, heeds=0.6, goes_on=0.2
)
"""Wants a short answer."""
CURIOUS = Persona(name="curious", harm=0.5, unhelpful=0.6, detail=0.4, heeds=0.7, goes_on=0.2)
"""Wants to learn something."""
EXPERT = Persona(
    name="expert",
    harm=0.6,
    unhelpful=0.6,
    warning=-0.15,
    length=0.05,
    detail=0.2,
    heeds=0.9,
    goes_on=0.1,
    sees=0.6,
)
"""Knows the dangers of the matter, and needs no telling."""
PERSONAS = {each.name: each for each in (ANXIOUS, RECKLESS, IMPATIENT, CURIOUS, EXPERT)}
"""The personas of a mixture, by name."""


def persona_names() -> list[str]:
    """Names that `find_persona` knows, `mixture` included."""
    return [ORDINARY.name, *PERSONAS, MIXTURE]


def find_persona(name: str) -> Persona | None:
    """The persona of a name; None for `mixture`.

    Raises:
        UserError: If there is none of that name.
    """
    if name == MIXTURE:
        return None
    known = {ORDINARY.name: ORDINARY, **PERSONAS}
    if name not in known:
        raise UserError(f"unknown persona {name!r}; {suggest(name, persona_names())}")
    return known[name]


@dataclass(frozen=True, kw_only=True)
class PersonaPlan:
    """Who the user is in each turn of an episode."""

    persona: Persona | None
    """The persona at the beginning; None draws one of `PERSONAS`."""
    becomes: Persona | None = None
    """The persona after the change."""
    changes: bool = False
    """Whether there is a change: to `becomes`, or to a drawn persona if that is None."""

    @classmethod
    def of(cls, persona: str, becomes: str = "") -> PersonaPlan:
        """The plan of two names; without the second nothing changes.

        Raises:
            UserError: If a name is unknown.
        """
        return cls(
            persona=find_persona(persona),
            becomes=find_persona(becomes) if becomes else None,
            changes=bool(becomes),
        )

    def at(self, seed: int, turn: int) -> Persona:
        """The persona in a turn.

        Args:
            seed: `Episode.seed`: it draws the personas of a mixture, and the turn of the change.
            turn: Number of earlier turns.
        """
        rng = np.random.default_rng([seed, PERSONA_STREAM])
        first, second = rng.integers(len(PERSONAS), size=2)
        change = int(rng.integers(1, LATEST_CHANGE))  # 1 is the second turn
        changed = self.changes and turn >= change
        persona, drawn = (self.becomes, second) if changed else (self.persona, first)
        return list(PERSONAS.values())[int(drawn)] if persona is None else persona


def length_of(reply: str) -> float:
    """How long a reply is, in [0, 1]."""
    return min(1.0, len(reply.split()) / ENOUGH_WORDS)


def detail_of(reply: str) -> float:
    """How much in particular a reply says, in [0, 1]: its different long words and numbers."""
    words = {word.strip(".,;:!?()[]\"'*").lower() for word in reply.split()}
    telling = sum(len(word) >= LONG_WORD or any(map(str.isdigit, word)) for word in words)
    return min(1.0, telling / ENOUGH_DETAIL)
