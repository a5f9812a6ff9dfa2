"""`erm-gym demo`: the whole idea in a few minutes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.compare import PICTURE, jobs_for, run_comparison
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.evaluation import CompareConfig, EpisodeRecord, RunError

STEPS = 8_960
"""Tokens that each agent is trained on: what fits into the minutes below."""
PROMPTS = 64
"""Held-out prompts that each agent is asked: whole contrast pairs, so half of them are risky."""
MINUTES = 5
"""How long all of it takes with the default model on two CPU cores."""
BEFORE, AFTER = "frozen", "emotional-ppo"
"""Whose replies are shown side by side."""
AGENTS = (BEFORE, "ppo", AFTER, "feared-dqn")
MARKER = ".demo.json"
"""File by which a folder is known to be a demonstration's; it holds the settings."""


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Train three agents for some minutes and see what they say that the frozen model does not."""

    out: Path = Path("demo")
    """Folder of runs, transcripts, results and picture; an earlier demonstration is overwritten."""
    steps: int = STEPS
    """Tokens that each agent is trained on."""
    episodes: int = PROMPTS
    """Held-out prompts that each agent is asked."""
    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    device: str = "cpu"
    """Device of the language model, such as cpu or cuda."""

    def run(self, console: Console) -> Outcome:
        """Says what is going to happen, compares, and shows replies before and after."""
        console.print(self._announcement())
        load_libraries(console)
        from erm_gym.cli.transcripts import print_exchanges

        config = CompareConfig(
            agents=AGENTS,
            seeds=1,
            steps=self.steps,
            episodes=self.episodes,
            out=self.out,
            llm=self.llm,
            device=self.device,
            jobs=jobs_for(self.device),
        )
        settings = {
            "steps": self.steps,
            "episodes": self.episodes,
            "llm": self.llm,
            "device": self.device,
        }
        prepare(self.out, settings)
        results = run_comparison(console, config)
        console.print("\nThe first risky and the first harmless prompt, before and after training:")
        print_exchanges(console, self._before_and_after())
        print_place(console, "results", self.out / "results.json")
        print_place(console, "picture", self.out / PICTURE)
        return Outcome(results)

    def _announcement(self) -> str:
        trained = ", ".join(AGENTS[1:-1])
        return (
            f"Trains {trained} and {AGENTS[-1]} on {self.llm} for {self.steps:,} tokens each, then "
            f"asks them and the frozen model the same {self.episodes} held-out prompts. About "
            f"{MINUTES} minutes on two CPU cores with the default settings."
        )

    def _before_and_after(self) -> list[list[tuple[str, EpisodeRecord]]]:
        """Both replies to the first risky and to the first harmless prompt that was asked."""
        from erm_gym.evaluation import read_records

        before, after = (
            read_records(self.out / f"transcripts-{agent}-seed0.jsonl") for agent in (BEFORE, AFTER)
        )
        pairs = list(zip(before, after, strict=True))
        first = [
            next((pair for pair in pairs if pair[0].risky == risky), None)
            for risky in (True, False)
        ]
        return [[(BEFORE, pair[0]), (AFTER, pair[1])] for pair in first if pair is not None]


def prepare(folder: Path, settings: dict[str, Any]) -> None:
    """Makes a folder ready for a demonstration.

    What an earlier one left is removed, and nothing else; but one with the same settings that was
    stopped on its way stays, to be gone on with.

    Args:
        folder: The folder; it may be missing.
        settings: Of the demonstration to come.

    Raises:
        RunError: If the folder is in use by something else.
    """
    from erm_gym.evaluation import read_json, write_json

    marker = folder / MARKER
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; choose a folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not marker.is_file():
        raise RunError(
            f"{folder} is not empty, and what it holds is no earlier demonstration; choose another "
            "folder with --out"
        )
    if marker.is_file():
        if read_json(marker) == settings and not (folder / PICTURE).exists():
            return
        _clear(folder)
    write_json(marker, settings)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    for path in [folder / "results.json", folder / PICTURE, *folder.glob("transcripts-*.jsonl")]:
        path.unlink(missing_ok=True)
