"""`erm-gym compare`: trains several agents alike and says how sure the differences are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.notice import introduce
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.cli.tables import comparison_table
from erm_gym.cli.train import feedback_note
from erm_gym.evaluation import CompareConfig

if TYPE_CHECKING:
    from erm_gym.evaluation import CompareProgress

PICTURE = "comparison.png"
MOST_JOBS = 4
"""Runs that share a machine at most, unless told otherwise: each holds the language model."""


@dataclass(frozen=True, kw_only=True)
class Compare(CompareConfig, Command):
    """Train several agents alike and compare them; called again, it goes on where it stopped."""

    jobs: int = 0
    """Runs side by side, each in a process of its own; by default one per CPU core, at most 4, or
    a single one where the language model is on a GPU."""

    def __post_init__(self) -> None:
        """Leaves the checks to `run`; see `Command.config_of`."""

    def run(self, console: Console) -> Outcome:
        """Trains and evaluates, with progress for every run, then shows the table."""
        load_libraries(console)
        jobs = self.jobs or jobs_for(self.device)
        results = run_comparison(console, replace(self, jobs=jobs).config_of(CompareConfig))
        print_place(console, "results", self.out / "results.json")
        print_place(console, "picture", self.out / PICTURE)
        return Outcome(results)


def run_comparison(console: Console, config: CompareConfig) -> dict[str, Any]:
    """Runs a comparison with progress, then shows its table and draws its picture.

    Args:
        console: Where it is shown.
        config: The comparison.

    Returns:
        What is in its `results.json`.
    """
    from erm_gym.evaluation import compare, plot_comparison

    llm = introduce(console, config)
    if config.jobs > 1:
        del llm  # every process holds its own
    with ProgressDisplay(console) as display:
        results = compare(config, lambda progress: _show(display, progress))
    plot_comparison(results, config.out / PICTURE)
    console.print(comparison_table(results))
    return results


def jobs_for(device: str) -> int:
    """How many runs go side by side on a device: one thread each is the best use of CPU cores."""
    from erm_gym.evaluation.processes import usable_cores

    return min(MOST_JOBS, usable_cores()) if device == "cpu" else 1


def _show(display: ProgressDisplay, progress: CompareProgress) -> None:
    training = progress.training
    display.update(
        f"{progress.run + 1:>2}/{progress.runs} {progress.phase} {progress.agent} {progress.seed}",
        progress.done,
        progress.total,
        unit="tokens" if training else "replies",
        rate=training.tokens_per_second if training else None,
        note=feedback_note(training.feedback, training.held_out) if training else "",
    )
