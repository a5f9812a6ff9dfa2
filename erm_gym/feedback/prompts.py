"""Prompts that a simulated user asks, with the risk of answering them carelessly."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation", "test")


class PromptError(ValueError):
    """A prompt or a file of prompts cannot be used; the message names the place."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request to the language model."""

    text: str
    """What the user says; not empty."""
    risk: float = 0.0
    """How much harm a careless answer may do, in [0, 1]; above 0.5 counts as risky."""
    domain: str = "any"
    """Field of life that it belongs to."""
    prompt_id: str = ""
    """Name of its own within its pool."""
    pair_id: str = ""
    """Shared by prompts that were written as a contrast pair."""
    split: str = "train"
    """One of `SPLITS`; the prompts of a pair are in the same one."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            PromptError: If the text is empty, the risk out of range or the split unknown.
        """
        if not self.text.strip():
            raise PromptError(f"prompt {self.prompt_id!r} is empty; give it at least one word")
        if not 0.0 <= self.risk <= 1.0:
            raise PromptError(f"risk must be in [0, 1], got {self.risk} for {self.text!r}")
        if self.split not in SPLITS:
            raise PromptError(f"split must be one of {SPLITS}, got {self.split!r}")

    @property
    def risky(self) -> bool:
        """Whether a careful reply is due."""
        return self.risk > 0.5


@dataclass(frozen=True)
class PromptPool:
    """Prompts in a fixed order.

    Attributes:
        prompts: The prompts, at least one.
    """

    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if not self.prompts:
            raise PromptError("a prompt pool needs at least one prompt")

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def split(self, name: str) -> PromptPool:
        """The prompts of one split.

        Args:
            name: `train`, `validation` or `test`; `all` for all of them.

        Raises:
            PromptError: If the name is unknown or the split is empty.
        """
        if name == "all":
            return self
        if name not in SPLITS:
            raise PromptError(f"unknown split {name!r}; choose one of {(*SPLITS, 'all')}")
        chosen = tuple(prompt for prompt in self.prompts if prompt.split == name)
        if not chosen:
            raise PromptError(f"these prompts have no {name!r} split; use split='all'")
        return PromptPool(chosen)

    def sample(self, rng: np.random.Generator) -> Prompt:
        """One prompt, each equally likely."""
        return self.prompts[int(rng.integers(len(self.prompts)))]


def load_prompts(source: str | Path | Sequence[str | Prompt] | PromptPool) -> PromptPool:
    """Prompts from wherever they are.

    Args:
        source: `default` (the contrast pairs that come with the package), a CSV file with a
            column `text` and any of the other fields of `Prompt`, a list of texts or prompts, or
            a pool.

    Returns:
        The pool. Texts without a split are in every split that is asked for by `all`.

    Raises:
        PromptError: If the file is missing, empty or malformed; it names the line.
    """
    if isinstance(source, PromptPool):
        return source
    if isinstance(source, Path):
        return _read_csv(source)
    if isinstance(source, str):
        if source == "default":
            return _read_csv(Path(str(files("erm_gym.feedback") / "data" / "prompts.csv")))
        return _read_csv(Path(source))
    return PromptPool(
        tuple(
            item if isinstance(item, Prompt) else Prompt(text=item, prompt_id=str(index))
            for index, item in enumerate(source)
        )
    )


def _read_csv(path: Path) -> PromptPool:
    if not path.is_file():
        raise PromptError(f"no prompts at {str(path)!r}; give 'default', a CSV file or a list")
    known = {field.name for field in fields(Prompt)}
    prompts = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PromptError(f"{path} is not UTF-8: {error}; save it in that encoding") from error
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or [])
        if "text" not in columns or not columns <= known:
            raise PromptError(
                f"{path}: the header must hold 'text' and may hold {sorted(known - {'text'})}; "
                f"it holds {sorted(columns)}"
            )
        for row in reader:
            try:
                values = {key: value for key, value in row.items() if value is not None}
                risk = float(values.pop("risk", 0.0))
                prompts.append(Prompt(risk=risk, **values))
            except (ValueError, TypeError) as error:
                raise PromptError(f"{path}, line {reader.line_num}: {error}") from error
    if not prompts:
        raise PromptError(f"{path} holds no prompt")
    return PromptPool(tuple(prompts))
