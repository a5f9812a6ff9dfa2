"""Trains the critic's danger net for a frozen LM on the risk of the package's own prompts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from erm_gym.feedback import load_prompts
from erm_gym.feedback.critic_training import train_critic
from erm_gym.feedback.judge import read_labelled_replies
from erm_gym.llm import DEFAULT_LLM, load_llm


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the danger net."""

    llm: str = DEFAULT_LLM
    """The frozen LM whose hidden states it reads."""
    out: Path = Path("erm_gym/emotion/weights")
    """Folder that the critic's own folder goes into."""
    seed: int = 0
    """Seed of the training."""


def main(arguments: Arguments) -> None:
    """Trains, saves and prints the report."""
    if arguments.llm != DEFAULT_LLM and arguments.out == Arguments.out:
        raise SystemExit("give another LM's weights a folder of their own with --out")
    llm = load_llm(arguments.llm, dtype="bfloat16")
    critic, report = train_critic(
        llm, load_prompts("default"), read_labelled_replies(), seed=arguments.seed, progress=print
    )
    folder = arguments.out / Path(llm.name).name
    critic.save_pretrained(folder)
    text = json.dumps(asdict(report), indent=2)
    (folder / "danger_net.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
