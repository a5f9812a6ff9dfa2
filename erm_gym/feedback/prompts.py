"""Prompts that a simulated user asks, with the risk of answering them carelessly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qsl

from erm_gym.feedback.prompt_files import read_prompt_file
from erm_gym.feedback.prompt_hub import read_data_set
from erm_gym.feedback.prompt_pool import (
    HELD_OUT_DOMAINS,
    SPLITS,
    Prompt,
    PromptError,
    PromptPool,
)
from erm_gym.feedback.prompt_rows import FIELDS, Columns
from erm_gym.llm.suggestion import suggest

__all__ = [
    "HELD_OUT_DOMAINS",
    "SHIPPED_POOLS",
    "SPLITS",
    "Prompt",
    "PromptError",
    "PromptPool",
    "is_shipped",
    "load_prompts",
]

SHIPPED_POOLS = {
    "default": "prompts.csv",
    "phrasings": "phrasings.csv",
    "intermediate": "intermediate.csv",
}
"""Pools that come with the package: contrast pairs, the same in other words, and prompts whose
risk is a matter of degree; several are joined by a plus, as in `default+phrasings`."""
HUB = "hub:"
HUB_OPTIONS = ("subset", "part")
"""What may be said of a data set besides its columns."""


def load_prompts(
    source: str | Path | Sequence[str | Prompt] | PromptPool,
    *,
    columns: Mapping[str, str] | None = None,
) -> PromptPool:
    """Prompts from wherever they are.

    Args:
        source: `default` (the contrast pairs that come with the package), another of
            `SHIPPED_POOLS` or several joined by a plus; a file, CSV with a column `text` and any of
            the other fields of `Prompt`, or JSON Lines with such keys; `hub:owner/name` for a data
            set of the Hugging Face hub, `hub:folder` for one in a folder; a list of texts or
            prompts; or a pool. A name may say what the columns are called, as in
            `file.csv?text=question&risk=harm`, and for a data set its `subset` and the `part` that
            is read.
        columns: The same as a mapping from fields of `Prompt` to columns. An empty name leaves a
            field at its default although there is a column of that name.

    Returns:
        The pool. Texts without a split are in every split that is asked for by `all`.

    Raises:
        PromptError: If the source is missing, empty or malformed; it names the line.
    """
    if isinstance(source, (str, Path)):
        return _from_name(source, columns)
    if columns is not None:
        raise PromptError("columns are for files and data sets; this source is none")
    if isinstance(source, PromptPool):
        return source
    return PromptPool(
        tuple(
            item if isinstance(item, Prompt) else Prompt(text=item, prompt_id=str(index))
            for index, item in enumerate(source)
        )
    )


def is_shipped(source: object) -> bool:
    """Whether prompts come with the package, whose `train` split is then what is meant."""
    return isinstance(source, str) and all(part in SHIPPED_POOLS for part in source.split("+"))


def _from_name(source: str | Path, columns: Mapping[str, str] | None) -> PromptPool:
    if isinstance(source, str) and is_shipped(source):
        if columns is not None:
            raise PromptError("columns are for files and data sets of your own")
        data = Path(str(files("erm_gym.feedback") / "data"))
        return PromptPool(
            tuple(
                prompt
                for part in dict.fromkeys(source.split("+"))
                for prompt in read_prompt_file(data / SHIPPED_POOLS[part], Columns())
            )
        )
    name = str(source)
    options: dict[str, str] = {}
    if isinstance(source, str) and not Path(source).exists():
        name, options = _options(source)
    if columns is not None and (set(options) & {*FIELDS}):
        raise PromptError(f"name the columns in {source!r} or in columns, not in both")
    named = {key: value for key, value in options.items() if key in FIELDS} or columns
    chosen = Columns(named=named)
    if not name.startswith(HUB):
        return PromptPool(tuple(read_prompt_file(Path(name), chosen)))
    others = {key: value for key, value in options.items() if key in HUB_OPTIONS}
    return PromptPool(tuple(read_data_set(name.removeprefix(HUB), chosen, **others)))


def _options(source: str) -> tuple[str, dict[str, str]]:
    """A name, and what is said after the question mark."""
    name, mark, query = source.partition("?")
    if not mark:
        return name, {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise PromptError(
            f"cannot read {query!r} in {source!r}; write {name}?text=COLUMN&risk=COLUMN"
        ) from error
    known = (*FIELDS, *HUB_OPTIONS) if name.startswith(HUB) else FIELDS
    for key, _ in pairs:
        if key not in known:
            raise PromptError(f"{source!r}: a prompt has no {key!r}; {suggest(key, known)}")
        if [other for other, _ in pairs].count(key) > 1:
            raise PromptError(f"{source!r} names {key!r} twice; name it once")
    return name, dict(pairs)
