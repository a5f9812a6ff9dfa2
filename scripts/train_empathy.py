"""Trains the short ERM of the empathy user for a frozen LM that has a trained emotional critic."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from erm_gym.emotion import EmotionalCritic
from erm_gym.feedback.empathy_training import empathy_texts, train_empathy
from erm_gym.feedback.feelings import NAME
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, save_head
from erm_gym.llm import DEFAULT_LLM, load_llm


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the short ERM of the empathy user."""

    data: Path
    """Folder with goemotions_train.tsv and hh_harmless_a.jsonl."""
    llm: str = DEFAULT_LLM
    """The frozen LM whose hidden states it reads."""
    critic: str = DEFAULT_LLM
    """The emotional critic whose ERM it learns from: a shipped one, a folder or a hub id."""
    out: Path = SHIPPED_WEIGHTS
    """Folder for the weights and the report."""
    seed: int = 0
    """Seed of the texts and of the training."""


def main(arguments: Arguments) -> None:
    """Trains, saves and prints the report."""
    if arguments.llm != DEFAULT_LLM and arguments.out == SHIPPED_WEIGHTS:
        raise SystemExit("give another LM's weights a folder of their own with --out")
    llm = load_llm(arguments.llm, dtype="bfloat16")
    erm, report = train_empathy(
        llm,
        EmotionalCritic.from_pretrained(arguments.critic, llm=llm),
        empathy_texts(arguments.data, arguments.seed),
        seed=arguments.seed,
        progress=lambda done, total: print(f"read {done} of {total} texts"),
    )
    path = save_head(erm, NAME, arguments.out, llm_fingerprint=llm.fingerprint)
    text = json.dumps(asdict(report), indent=2)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
