"""Trains the stance judge for a frozen LM on the labelled replies that come with the package."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from erm_gym.feedback.judge_training import train_judge
from erm_gym.feedback.labelled_replies import read_all_replies
from erm_gym.llm import DEFAULT_LLM, load_llm


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the stance judge."""

    llm: str = DEFAULT_LLM
    """The frozen LM whose hidden states it reads."""
    out: Path = Path("erm_gym/feedback/weights")
    """Folder for the weights and the report."""
    seed: int = 0
    """Seed of the training."""


def main(arguments: Arguments) -> None:
    """Trains, saves and prints the report."""
    if arguments.llm != DEFAULT_LLM and arguments.out == Arguments.out:
        raise SystemExit("give another LM's weights a folder of their own with --out")
    llm = load_llm(arguments.llm, dtype="bfloat16")
    judge, report = train_judge(
        llm,
        read_all_replies(),
        seed=arguments.seed,
        progress=lambda done, total: print(f"read {done} of {total} texts", flush=True),
    )
    judge.save_pretrained(arguments.out)
    text = json.dumps(asdict(report), indent=2)
    (arguments.out / "stance_judge.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
