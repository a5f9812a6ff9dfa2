"""Reads expressions of users, such as `0.7*risk-averse + 0.3*sentiment | noise(0.1)`.

    expression = sum { "|" stage }
    sum        = term { ("+" | "-") term }
    term       = [ "-" ] [ number "*" ] user
    user       = name [ options ] | address [ options ] | "(" expression ")"
    stage      = name [ options ]
    options    = "(" [ option { "," option } ] ")"
    option     = [ name "=" ] value
    value      = [ "-" ] number | word | "true" | "false" | quoted text

A `|` applies to everything on its left; brackets say otherwise. A name is one from `user_names` or
`package.module:attribute`; an address begins with http:// or https://. Options of users have names,
those of stages need none if they come in their order.
"""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, dataclass, fields
from typing import get_type_hints

from erm_gym.feedback.episode import UserError
from erm_gym.feedback.users.batches import Batched, Cached
from erm_gym.feedback.users.delay import Delay
from erm_gym.feedback.users.disturbances import Clipped, Drift, Flip, Noise, Sparse
from erm_gym.feedback.users.expression import WORD, Expression, Piped, Sum, named
from erm_gym.feedback.users.registry import Option, registered_user
from erm_gym.feedback.users.stage import Stage
from erm_gym.llm.suggestion import suggest

STAGES: dict[str, type[Stage]] = {
    stage.name: stage for stage in (Noise, Delay, Sparse, Flip, Drift, Cached, Clipped, Batched)
}
"""What may stand behind a `|`, by name."""

TOKENS = re.compile(
    r"""\s*(?:
    (?P<address>https?://[^\s|(),]+)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<word>[A-Za-z_][\w.:-]*)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<sign>[-+*|(),=])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
DEEPEST = 50
"""Most brackets within brackets."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int  # from 1


def parse(text: str) -> Expression:
    """The expression of a user.

    >>> str(parse(" 0.70*risk-averse|noise( scale = 0.1 ) "))
    '0.7*risk-averse | noise(0.1)'

    Args:
        text: See the grammar at the top of this file.

    Returns:
        The expression; `str` of it is its canonical text, which is read as the same.

    Raises:
        UserError: If the text is none; it names the column, and the nearest name.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._read())
        self.place = 0
        self.depth = 0

    def _read(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            match = TOKENS.match(self.text, position)
            if match is None:
                blank = re.compile(r"\s*").match(self.text, position)
                column = (blank.end() if blank else position) + 1
                raise self._error(f"cannot read {self.text[column - 1 :][:10]!r}", column)
            kind = str(match.lastgroup)
            tokens.append(_Token(kind, match[kind], match.start(kind) + 1))
            position = match.end()
        return tokens

    def _error(self, message: str, column: int) -> UserError:
        where = (
            ""
            if self.text.strip() == self.text and WORD.fullmatch(self.text)
            else (f", at column {column} of {self.text!r}")
        )
        return UserError(f"{message}{where}")

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.next
        self.place += 1
        return token

    def took(self, sign: str) -> bool:
        """Takes a sign if it comes next."""
        if self.next.kind == "sign" and self.next.text == sign:
            self.place += 1
            return True
        return False

    def expected(self, what: str) -> UserError:
        """An error that names what comes instead."""
        found = repr(self.next.text) if self.next.kind != "end" else "the end"
        hint = ""
        if self.next.kind == "sign" and self.next.text == "*" and self.place:
            hint = "; a weight is a number before '*', and a minus needs a space before it"
        return self._error(f"expected {what}, got {found}{hint}", self.next.column)

    def whole(self) -> Expression:
        expression = self.expression()
        if self.next.kind != "end":
            raise self.expected("'+', '|' or the end")
        with_place = self.tokens[0].column
        try:
            expression.check()
        except UserError as error:
            raise self._error(str(error), with_place) from error
        return expression

    def expression(self) -> Expression:
        column = self.next.column
        expression = self.sum()
        while self.took("|"):
            stage = self.stage()
            try:
                expression = Piped(inner=expression, stage=stage)
            except UserError as error:
                raise self._error(str(error), column) from error
        return expression

    def sum(self) -> Expression:
        terms = [self.term(1.0)]
        while True:
            if self.took("+"):
                terms.append(self.term(1.0))
            elif self.took("-"):
                terms.append(self.term(-1.0))
            elif len(terms) == 1 and terms[0][0] == 1.0:
                return terms[0][1]
            else:
                return Sum(terms_given=tuple(terms))

    def term(self, sign: float) -> tuple[float, Expression]:
        weight = -sign if self.took("-") else sign
        if self.next.kind == "number":
            weight *= float(self.take().text)
            if not self.took("*"):
                raise self.expected("'*' after a weight")
        return weight, self.user()

    def user(self) -> Expression:
        token = self.next
        if self.took("("):
            self.depth += 1
            if self.depth > DEEPEST:
                raise self._error(f"more than {DEEPEST} brackets within brackets", token.column)
            expression = self.expression()
            if not self.took(")"):
                raise self.expected("')'")
            self.depth -= 1
            return expression
        if token.kind not in ("word", "address"):
            raise self.expected("the name of a user")
        self.take()
        if token.kind == "word" and ":" not in token.text:
            try:
                registered_user(token.text)
            except UserError as error:
                is_stage = f"{token.text!r} changes what a user says: write USER | {token.text}"
                message = is_stage if token.text in STAGES else str(error)
                raise self._error(message, token.column) from None
        options: dict[str, Option] = {}
        for name, value, place in self.options():
            if name is None:
                raise self._error(f"{token.text}: an option is written name=value", place.column)
            if name in options:
                raise self._error(f"{token.text}: {name} is given twice", place.column)
            options[name] = value
        if token.kind == "address" and "url" in options:
            raise self._error("an address is the url already", token.column)
        return named(token.text, **options)

    def stage(self) -> Stage:
        token = self.next
        if token.kind != "word":
            raise self.expected("a name after '|'")
        self.take()
        if token.text not in STAGES:
            hint = suggest(token.text, STAGES)
            raise self._error(f"unknown name {token.text!r} after '|'; {hint}", token.column)
        kind = STAGES[token.text]
        types = get_type_hints(kind)
        taken = [field.name for field in fields(kind)]
        values: dict[str, Option] = {}
        for number, (name, value, place) in enumerate(self.options()):
            if name is None and (number >= len(taken) or len(values) < number):
                raise self._error(f"{token.text} takes the options {taken}", place.column)
            option = taken[number] if name is None else name
            if option not in taken:
                hint = suggest(option, taken)
                raise self._error(f"{token.text}: unknown option {option!r}; {hint}", place.column)
            if option in values:
                raise self._error(f"{token.text}: {option} is given twice", place.column)
            whole = isinstance(value, int) and not isinstance(value, bool)
            values[option] = float(value) if whole and types[option] is not int else value
        missing = [
            field.name
            for field in fields(kind)
            if field.default is MISSING and field.name not in values
        ]
        if missing:
            raise self._error(f"{token.text} needs {missing[0]}", token.column)
        try:
            return kind(**values)
        except UserError as error:
            raise self._error(str(error), token.column) from error

    def options(self) -> list[tuple[str | None, Option, _Token]]:
        """Names (None where there is none), values and places of options in brackets, if any."""
        found: list[tuple[str | None, Option, _Token]] = []
        if not self.took("("):
            return found
        while not self.took(")"):
            if found and not self.took(","):
                raise self.expected("',' or ')'")
            place, name = self.next, None
            following = self.tokens[min(self.place + 1, len(self.tokens) - 1)]
            if place.kind == "word" and following.kind == "sign" and following.text == "=":
                name = self.take().text
                self.take()
                if not name.isidentifier():
                    raise self._error(f"{name!r} is no name of an option", place.column)
            found.append((name, self.value(), place))
        return found

    def value(self) -> Option:
        minus = self.took("-")
        if self.next.kind == "number":
            token = self.take()
            size = int(token.text) if token.text.isdigit() else float(token.text)
            if size == float("inf"):
                raise self._error(f"{token.text} is too large", token.column)
            return -size if minus else size
        if minus or self.next.kind not in ("word", "address", "text"):
            raise self.expected("a value")
        token = self.take()
        if token.kind == "text":
            try:
                return str(ast.literal_eval(token.text))
            except (SyntaxError, ValueError) as error:
                raise self._error(f"cannot read {token.text}: {error}", token.column) from error
        return {"true": True, "false": False}.get(token.text, token.text)
