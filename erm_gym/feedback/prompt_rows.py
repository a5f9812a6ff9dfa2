"""Prompts from rows of a table whose columns have the names that somebody gave them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields

from erm_gym.feedback.prompt_pool import Prompt, PromptError
from erm_gym.llm.suggestion import suggest

FIELDS = tuple(field.name for field in fields(Prompt))
NUMBERS = ("risk", "weight")
"""Fields that are numbers; the others are text."""

Row = tuple[str, Mapping[str, object]]
"""Where a row is, in words, and its values by column."""
PairSeen = tuple[str, str]
"""The split of a contrast pair, and where it was seen first."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column holds which field of a prompt."""

    named: Mapping[str, str] | None = None
    """The column of a field, by field; an empty name for one that is not to be read. Other fields
    are read from columns of their own name where there are any, and other columns are not read.
    None for a table that has no other columns than fields."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            PromptError: If one is unknown; it suggests the nearest.
        """
        for field in self.named or ():
            if field not in FIELDS:
                raise PromptError(f"a prompt has no {field!r}; {suggest(field, FIELDS)}")
        if self.named is not None and self.named.get("text") == "":
            raise PromptError("the column of the text must be named, or called 'text'")

    def found(
        self, place: str, there: Collection[str], *, kind: str, example: str, strict: bool = True
    ) -> dict[str, str]:
        """The column of every field that is to be read.

        Args:
            place: What the table is called in messages.
            there: The columns that it has.
            kind: What they are called in messages.
            example: How columns are named for such a table.
            strict: Whether columns that hold no field are an error if none is named.

        Raises:
            PromptError: If a column is missing, or one too many; it suggests the nearest.
        """
        if self.named is None and ("text" not in there or (strict and not set(there) <= {*FIELDS})):
            raise PromptError(
                f"{place}: the {kind} must hold 'text' and may hold "
                f"{sorted({*FIELDS} - {'text'})}; it holds {sorted(there)}. "
                f"Other names can be given: {example}"
            )
        named = {"text": "text", **(self.named or {})}
        for field, column in named.items():
            if column and column not in there:
                raise PromptError(
                    f"{place}: there is no column {column!r} for the {field}; "
                    f"{suggest(column, there)}"
                )
        own = {field: field for field in FIELDS if field in there and field not in named}
        return own | {field: column for field, column in named.items() if column}


def prompts_from(
    rows: Iterable[Row],
    columns: Mapping[str, str],
    *,
    required: Collection[str] = ("text",),
    pairs: dict[str, PairSeen] | None = None,
) -> list[Prompt]:
    """A prompt for every row.

    Args:
        rows: The rows, with their places.
        columns: The column of every field that is read, by field.
        required: Fields that every row must have; what others lack is left at its default.
        pairs: The pairs of other tables that belong to the same pool, to which those of this one
            are added.

    Raises:
        PromptError: If a value is missing, of the wrong kind or out of range, or the prompts of a
            pair are in different splits; it names the place.
    """
    prompts: list[Prompt] = []
    first = {} if pairs is None else pairs
    for place, row in rows:
        try:
            prompt = _prompt(row, columns, required)
        except PromptError as error:
            raise PromptError(f"{place}: {error}") from error
        prompts.append(prompt)
        split, seen = first.setdefault(prompt.pair_id, (prompt.split, place))
        if prompt.pair_id and split != prompt.split:
            raise PromptError(
                f"{place}: the pair {prompt.pair_id!r} is in the split {prompt.split!r} here and "
                f"in {split!r} in {seen}; give both prompts the same one"
            )
    return prompts


def _prompt(
    row: Mapping[str, object], columns: Mapping[str, str], required: Collection[str]
) -> Prompt:
    values: dict[str, str | float] = {}
    for field, column in columns.items():
        called = field if field == column else f"{field} (column {column!r})"
        if column not in row and field not in required:
            continue
        value = row.get(column)
        if field in NUMBERS:
            values[field] = _number(called, value)
        elif field == "text" and not isinstance(value, str):
            raise PromptError(f"{called} must be text, got {value!r}")
        elif value is not None:
            values[field] = str(value)
    return Prompt(**values)  # type: ignore[arg-type]


def _number(called: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"{called} must be a number, got {value!r}") from None
