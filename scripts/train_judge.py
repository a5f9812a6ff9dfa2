"""Trains the stance judge for a frozen LM on the labelled replies that come with the package."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from erm_gym.feedback.head_files import SHIPPED_WEIGHTS
from erm_gym.feedback.judge_training import read_hidden, train_judge
from erm_gym.feedback.labelled_replies import read_all_replies
from erm_gym.llm import DEFAULT_LLM, load_llm


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the stance judge."""

    llm: str = DEFAULT_LLM
    """The frozen LM whose hidden states it reads."""
    out: Path = SHIPPED_WEIGHTS
    """Folder for the weights and the report."""
    seed: int = 0
    """Seed of the training."""
    cache: Path | None = None
    """File for the hidden states, so that a second training need not read the replies again."""


def main(arguments: Arguments) -> None:
    """Trains, saves and prints the report."""
    if arguments.llm != DEFAULT_LLM and arguments.out == SHIPPED_WEIGHTS:
        raise SystemExit("give another LM's weights a folder of their own with --out")
    llm = load_llm(arguments.llm, dtype="bfloat16")
    rows = read_all_replies()
    hidden = read_hidden(
        llm,
        rows,
        lambda done, total: print(f"read {done} of {total} texts", flush=True),
        cache=arguments.cache,
    )
    judge, report = train_judge(llm, rows, hidden=hidden, seed=arguments.seed)
    path = judge.save_pretrained(arguments.out)
    text = json.dumps(asdict(report), indent=2)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
