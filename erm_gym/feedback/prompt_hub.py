"""Prompts from data sets that the `datasets` library reads: from the hub, or from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from erm_gym.feedback.prompt_pool import SPLITS, Prompt, PromptError
from erm_gym.feedback.prompt_rows import Columns, PairSeen, Row, prompts_from
from erm_gym.llm.suggestion import suggest

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SAVED = ("dataset_dict.json", "state.json")
"""Files of which one is in every folder that `save_to_disk` wrote."""


def read_data_set(
    name: str, columns: Columns, *, subset: str | None = None, part: str | None = None
) -> list[Prompt]:
    """The prompts of a data set.

    Args:
        name: `owner/name` on the hub; or a folder of parquet, CSV or JSON files, or one that
            `save_to_disk` wrote.
        columns: Which column holds what; columns that are no field are not read.
        subset: Configuration of the data set, where it has several.
        part: Split of the data set that is read. By default those called `train`, `validation` and
            `test`, and prompts without a split of their own are in the one that they come from.

    Raises:
        PromptError: If the package `datasets` is missing, the data set cannot be loaded, there is
            no such part or column, a row is no prompt, or a contrast pair is in two splits.
    """
    parts = _load(name, subset)
    if part is not None and part not in parts:
        raise PromptError(f"the data set {name!r} has no part {part!r}; {suggest(part, parts)}")
    chosen = [part] if part is not None else [split for split in SPLITS if split in parts]
    if not chosen:
        raise PromptError(
            f"say which part of the data set {name!r} is meant, as in "
            f"hub:{name}?part={next(iter(parts))}; there are {[*parts]}"
        )
    prompts = []
    pairs: dict[str, PairSeen] = {}  # of all parts: a pair may not be torn over two of them
    for split in chosen:
        prompts += _read(name, parts[split], columns, split, pairs)
    if not prompts:
        raise PromptError(f"the data set {name!r} holds no prompt")
    return prompts


def _read(
    name: str, table: Dataset, columns: Columns, split: str, pairs: dict[str, PairSeen]
) -> list[Prompt]:
    found = columns.found(
        name,
        table.column_names,
        kind="columns",
        example=f"hub:{name}?text=COLUMN&risk=COLUMN",
        strict=False,
    )

    def rows() -> Iterator[Row]:
        for number, row in enumerate(table.select_columns([*dict.fromkeys(found.values())])):
            own = {} if "split" in found or split not in SPLITS else {"split": split}
            yield f"{name}, {split}, row {number}", {**row, **own}

    return prompts_from(rows(), {"split": "split", **found}, pairs=pairs)


def _load(name: str, subset: str | None) -> DatasetDict:
    try:
        import datasets
    except ImportError as error:
        raise PromptError(
            f"to read the data set {name!r}, install what does: pip install 'erm-gym[hub]'"
        ) from error
    folder = Path(name)
    try:
        if any((folder / file).is_file() for file in SAVED):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, subset)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        where = "mend its files" if folder.is_dir() else "check its name and the connection"
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise PromptError(
            f"cannot load the data set {name!r}: {error}{cause}; {where}, or give a folder that "
            "holds it: hub:FOLDER"
        ) from error
    if isinstance(loaded, datasets.DatasetDict):
        return loaded
    return datasets.DatasetDict({"train": loaded})
