"""`erm-gym train`: trains one agent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_counts, print_place
from erm_gym.cli.notice import introduce
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.evaluation import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Train(TrainConfig, Command):
    """Train an agent, and keep its model, metrics and transcripts in a folder."""

    agent: str
    """One of frozen, random, emotional-frozen, ppo, emotional-ppo, dqn, feared-dqn."""
    out: Path | None = None
    """Folder of the run; by default runs/AGENT-seedSEED."""
    resume: bool = False
    """Go on with the run that is in the folder, which may be made longer."""

    def __post_init__(self) -> None:
        """Leaves the checks to `run`; see `Command.config_of`."""

    def run(self, console: Console) -> Outcome:
        """Trains, with a progress bar."""
        load_libraries(console)
        from erm_gym.evaluation import TrainProgress, train

        config = self.config_of(TrainConfig)
        folder = self.out or Path("runs") / f"{config.agent}-seed{config.seed}"
        llm = introduce(console, config)
        with ProgressDisplay(console) as display:

            def show(progress: TrainProgress) -> None:
                display.update(
                    config.agent,
                    progress.steps,
                    progress.total,
                    unit="tokens",
                    rate=progress.tokens_per_second,
                    note=feedback_note(progress.feedback, progress.held_out),
                )

            result = train(config, folder, resume=self.resume, progress=show)
        del llm
        print_counts(console, result.user_counts)
        print_place(console, "run", result.folder)
        return Outcome({**asdict(result), "folder": str(result.folder)})


def feedback_note(feedback: float | None, held_out: float | None) -> str:
    """The running feedback of both users, as a progress bar says it."""
    both = {"feedback": feedback, "held out": held_out}
    return ", ".join(f"{name} {value:+.2f}" for name, value in both.items() if value is not None)
