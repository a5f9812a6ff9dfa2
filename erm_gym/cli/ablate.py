"""`erm-gym ablate`: is it the emotion, or would anything with the same information do as well?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.evaluation.config import RunError

PICTURE = "ablation.png"
WORDS = {
    "helps": "the emotion helps",
    "equivalent": "the emotion makes no difference",
    "hurts": "the emotion hurts",
    "undecided": "undecided",
}


@dataclass(frozen=True, kw_only=True)
class Ablate(Command):
    """Compare an emotional agent with all that has the same information; called again, it goes on.

    Its signal is switched off, observed, made a reward, a constant, a placebo or a rule.
    """

    agent: str
    """The emotional agent, such as feared-q or feared-dqn."""
    env: str | None = None
    """A classic environment; by default the fair one that the agent was made for."""
    seeds: int | None = None
    """Paired seeds; by default 50, or 30 of a deep agent."""
    episodes: int | None = None
    """Episodes of training; by default 300, or 500 of a deep agent."""
    evaluation_episodes: int = 50
    """Episodes of the greedy evaluation."""
    trials: int | None = None
    """Hyperparameters that each variant tries, on seeds of its own; by default 40, or 4 of a deep
    agent."""
    search_seeds: int | None = None
    """Seeds of each trial; by default 5, or 3 of a deep agent."""
    jobs: int = 0
    """Variants side by side; by default one per CPU core."""
    out: Path = Path("ablation")
    """Folder of the results."""

    def run(self, console: Console) -> Outcome:
        """Runs all variants with progress, then shows the table and the verdict."""
        if self.jobs < 0:
            raise RunError(f"jobs must be at least 1, or 0 for one per CPU core, got {self.jobs}")
        load_libraries(console)
        from erm_gym.evaluation.emotional_ed.ablation import FILE, ablate, usual_config
        from erm_gym.evaluation.emotional_ed.ablation_picture import plot_ablation

        config = usual_config(
            self.agent,
            self.env,
            seeds=self.seeds,
            episodes=self.episodes,
            evaluation_episodes=self.evaluation_episodes,
            trials=self.trials,
            search_seeds=self.search_seeds,
        )
        with ProgressDisplay(console) as display:
            results = ablate(
                config,
                self.out,
                lambda name, done, total: display.update(
                    "compare", done, total, unit="variants", note=name
                ),
                jobs=self.jobs or None,
            )
        plot_ablation(results, self.out / PICTURE)
        console.print(ablation_table(results))
        console.print(verdict_text(results))
        print_place(console, "results", self.out / FILE)
        print_place(console, "picture", self.out / PICTURE)
        return Outcome(results)


def ablation_table(results: dict[str, Any]) -> Table:
    """The variants, the best first."""
    config = results["config"]
    title = f"{config['agent']} in {config['env']}, {config['seeds']} paired seeds"
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("variant", style="bold", no_wrap=True)
    table.add_column("return\n(95% interval)", justify="right")
    table.add_column("worst\n10%", justify="right")
    table.add_column("while\ntraining", justify="right")
    table.add_column("P(agent\nis better)", justify="right")
    table.add_column("", style="dim")
    variants = results["variants"]
    for name in sorted(variants, key=lambda name: -variants[name]["iqm"][0]):
        found = variants[name]
        middle, low, high = found["iqm"]
        better, least, most = found["improvement"]
        table.add_row(
            name,
            f"{middle:.3f} ({low:.3f}, {high:.3f})",
            f"{found['cvar']:.3f}",
            f"{found['training_return']:.3f}",
            "" if name == "emotional" else f"{better:.2f} ({least:.2f}, {most:.2f})",
            found["what"],
        )
    return table


def verdict_text(results: dict[str, Any]) -> Text:
    """The verdict in a sentence."""
    verdict = results.get("verdict")
    if verdict is None:
        return Text("No verdict: nobody scores above a random policy.", "bold")
    gain, least, most = (100 * value for value in verdict["gain"])
    return Text.assemble(
        (f"Verdict: {WORDS[verdict['word']]}. ", "bold"),
        f"Beside the best baseline of the search, {verdict['baseline']}, the interquartile mean "
        f"differs by {gain:+.1f}% ({least:+.1f} to {most:+.1f}%) of the range from a random policy "
        "to the best variant.",
    )
