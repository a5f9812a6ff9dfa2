"""`erm-gym reproduce emotional-ed`: the published experiments as they were, and compared fairly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.progress import ProgressDisplay


@dataclass(frozen=True, kw_only=True)
class Reproduce(Command):
    """Run published experiments again, as published and fairly; called again, it goes on."""

    publication: Literal["emotional-ed"]
    """Whose."""
    experiments: tuple[str, ...] = ()
    """Names of experiments, such as fear; by default all, and the fair comparisons."""
    quick: bool = False
    """A few seeds only, to see that everything runs."""
    jobs: int | None = None
    """Processes; by default one per CPU core."""
    out: Path = Path("results")
    """Folder of the results."""

    def run(self, console: Console) -> Outcome:
        """Runs with progress, then writes the page."""
        load_libraries(console)
        from erm_gym.evaluation.emotional_ed.page import PAGE, write_page
        from erm_gym.evaluation.emotional_ed.reproduction import (
            FILE,
            ReproductionConfig,
            reproduce,
        )

        config = ReproductionConfig(experiments=self.experiments, quick=self.quick)
        with ProgressDisplay(console) as display:
            results = reproduce(
                config,
                self.out,
                lambda name, done, total: display.update(
                    "reproduce", done, total, unit="parts", note=name
                ),
                jobs=self.jobs,
            )
        write_page(results, self.out / PAGE)
        print_place(console, "results", self.out / FILE)
        print_place(console, "page", self.out / PAGE)
        return Outcome(results)
