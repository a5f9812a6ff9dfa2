"""Trains the preference head for a frozen LM on pairs of replies, as hh-rlhf has them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from erm_gym.emotion.training.pairs import read_preference_pairs
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, save_head
from erm_gym.feedback.preference_head import NAME
from erm_gym.feedback.preference_training import train_preference
from erm_gym.llm import DEFAULT_LLM, load_llm


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the preference head."""

    data: Path
    """JSON Lines with the dialogues `chosen` and `rejected`."""
    llm: str = DEFAULT_LLM
    """The frozen LM whose hidden states it reads."""
    out: Path = SHIPPED_WEIGHTS
    """Folder for the weights and the report."""
    seed: int = 0
    """Seed of the split."""


def main(arguments: Arguments) -> None:
    """Trains, saves and prints the report."""
    if arguments.llm != DEFAULT_LLM and arguments.out == SHIPPED_WEIGHTS:
        raise SystemExit("give another LM's weights a folder of their own with --out")
    pairs = read_preference_pairs(arguments.data)
    print(f"{len(pairs.pairs)} pairs; left out: {pairs.left_out}")
    llm = load_llm(arguments.llm, dtype="bfloat16")
    head, report = train_preference(
        llm,
        pairs.pairs,
        seed=arguments.seed,
        progress=lambda done, total: print(f"read {done} of {total} replies"),
    )
    path = save_head(head, NAME, arguments.out, llm_fingerprint=llm.fingerprint)
    text = json.dumps(asdict(report), indent=2)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
