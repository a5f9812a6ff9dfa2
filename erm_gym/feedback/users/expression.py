"""Expressions of users: who gives the feedback, with which weight, and what becomes of it.

An expression says what a user is made of; `make_user` makes it with a language model. Its text
(`str`) is what `parse` reads.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from erm_gym.feedback.episode import UserError
from erm_gym.feedback.users.registry import REMOTE, Option
from erm_gym.feedback.users.stage import Stage

WORD = re.compile(r"[A-Za-z_][\w.:-]*")
"""A name, an import path, or a text that needs no quotes."""
LARGEST = 1.0 + 1e-9
"""Largest score in size, and some rounding of weights."""


class Expression(ABC):
    """What a user is made of.

    Besides `parse`, expressions are built with operators: `0.7 * a + 0.3 * b | Noise(scale=0.1)`.
    """

    @property
    @abstractmethod
    def largest(self) -> float:
        """Largest size that its score can have."""

    @abstractmethod
    def __str__(self) -> str:
        """The text that `parse` reads as this expression."""

    def terms(self) -> Iterator[tuple[float, Expression]]:
        """What is added up, with weights, sums within sums resolved."""
        yield 1.0, self

    def check(self) -> None:
        """Makes sure that every score lies in [-1, 1].

        Raises:
            UserError: If the weights of a sum are too large; it says by how much.
        """
        if self.largest > LARGEST:
            raise UserError(
                f"the weights of {str(self)!r} add up to {self.largest:g}, so that a score could "
                "leave [-1, 1]; make them add up to at most 1"
            )

    def __add__(self, other: object) -> Expression:
        """The sum of two expressions."""
        if not isinstance(other, Expression):
            return NotImplemented
        return Sum(terms_given=(*_summands(self), *_summands(other)))

    def __sub__(self, other: object) -> Expression:
        """This expression without another."""
        return self + -other if isinstance(other, Expression) else NotImplemented

    def __mul__(self, weight: object) -> Expression:
        """This expression with a weight."""
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            return NotImplemented
        if weight == 1:
            return self
        return Sum(terms_given=((float(weight), self),))

    __rmul__ = __mul__

    def __neg__(self) -> Expression:
        """This expression with the weight -1."""
        return -1.0 * self

    def __or__(self, stage: object) -> Expression:
        """This expression with something that happens to its feedback."""
        return Piped(inner=self, stage=stage) if isinstance(stage, Stage) else NotImplemented


@dataclass(frozen=True, kw_only=True)
class Named(Expression):
    """A user by its name, with options."""

    name: str
    """A name from `user_names`, or `package.module:attribute`."""
    options: tuple[tuple[str, Option], ...] = ()
    """Options and their values, in alphabetical order."""

    def __post_init__(self) -> None:
        """Brings the options into order.

        Raises:
            UserError: If a name cannot be written, or a value is no plain one.
        """
        if not WORD.fullmatch(self.name):
            raise UserError(f"{self.name!r} is no name of a user")
        for option, value in self.options:
            if not option.isidentifier():
                raise UserError(f"{option!r} is no name of an option of {self.name}")
            infinite = isinstance(value, float) and not math.isfinite(value)
            if not isinstance(value, (bool, int, float, str)) or infinite:
                raise UserError(f"{self.name}: {option} must be a number or text, got {value!r}")
        object.__setattr__(self, "options", tuple(sorted(self.options)))

    @property
    def largest(self) -> float:
        """1, as of every user."""
        return 1.0

    def __str__(self) -> str:
        given = ", ".join(f"{option}={value_text(value)}" for option, value in self.options)
        return f"{self.name}({given})" if given else self.name


@dataclass(frozen=True, kw_only=True)
class Given(Expression):
    """A user that is an object or a function of the program; its text cannot be parsed."""

    user: Any
    """The object or the function; or whatever else `make_user` takes."""

    @property
    def name(self) -> str:
        """What messages call it."""
        if isinstance(self.user, (str, Expression)):
            return str(self.user)
        return str(
            getattr(self.user, "name", None)
            or getattr(self.user, "__name__", type(self.user).__name__)
        )

    @property
    def largest(self) -> float:
        """1, as of every user."""
        return 1.0

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Sum(Expression):
    """A weighted sum of users."""

    terms_given: tuple[tuple[float, Expression], ...]
    """Weights and what they weigh, at least one."""

    def __post_init__(self) -> None:
        """Checks the weights.

        Raises:
            UserError: If there is nothing to add up, or a weight is not finite.
        """
        if not self.terms_given or [weight for weight, _ in self.terms_given] == [1.0]:
            raise UserError("a sum needs two users, or one with another weight than 1")
        for weight, term in self.terms_given:
            if not math.isfinite(weight):
                raise UserError(f"the weight of {str(term)!r} must be a number, got {weight}")

    @property
    def largest(self) -> float:
        """Sum of the weights, all taken as positive."""
        return sum(abs(weight) * term.largest for weight, term in self.terms_given)

    def __neg__(self) -> Expression:
        """The sum with the signs of all weights turned round."""
        if [weight for weight, _ in self.terms_given] == [-1.0]:
            return self.terms_given[0][1]
        return Sum(terms_given=tuple((-weight, term) for weight, term in self.terms_given))

    def terms(self) -> Iterator[tuple[float, Expression]]:
        """What is added up, with weights, sums within sums resolved."""
        for weight, term in self.terms_given:
            for inner_weight, inner in term.terms():
                yield weight * inner_weight, inner

    def __str__(self) -> str:
        text = ""
        for weight, term in self.terms_given:
            factor = "" if abs(weight) == 1.0 else f"{number_text(abs(weight))}*"
            within = f"({term})" if isinstance(term, (Sum, Piped)) else str(term)
            sign = " - " if weight < 0 else " + "
            text += (sign if text else sign.strip(" +")) + factor + within
        return text


@dataclass(frozen=True, kw_only=True)
class Piped(Expression):
    """A user whose feedback something happens to."""

    inner: Expression
    """Who gives the feedback."""
    stage: Stage
    """What happens to it."""

    def __post_init__(self) -> None:
        """Checks that the two fit.

        Raises:
            UserError: If a score of the inner one could leave [-1, 1], or the stage would repeat
                what was drawn.
        """
        self.inner.check()
        drawing = [stage for stage in self.inner_stages() if stage.draws]
        if self.stage.repeats and drawing:
            raise UserError(
                f"{self.stage} stands behind {drawing[0]}, whose draws it would repeat; put it "
                "before"
            )

    def inner_stages(self) -> Iterator[Stage]:
        """All stages before this one, within sums, too."""
        for _, term in self.inner.terms():
            if isinstance(term, Piped):
                yield from term.inner_stages()
                yield term.stage

    @property
    def largest(self) -> float:
        """1: whatever happens to feedback leaves it in [-1, 1]."""
        return 1.0

    def __str__(self) -> str:
        return f"{self.inner} | {self.stage}"


def named(name: str, /, **options: Option) -> Expression:
    """A user by its name, with options; an address stands for the user at it.

    >>> str(named("outcome", persona="anxious"))
    'outcome(persona=anxious)'
    """
    if name.startswith(("http://", "https://")):
        return Named(name=REMOTE, options=(("url", name), *options.items()))
    return Named(name=name, options=tuple(options.items()))


def number_text(value: float) -> str:
    """A number without the `.0` of a whole one, and without the sign of zero."""
    return repr(float(value) + 0.0).removesuffix(".0")


def value_text(value: Option) -> str:
    """The value of an option, as the grammar has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    plain = WORD.fullmatch(value) and value not in ("true", "false")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _summands(expression: Expression) -> tuple[tuple[float, Expression], ...]:
    return expression.terms_given if isinstance(expression, Sum) else ((1.0, expression),)
