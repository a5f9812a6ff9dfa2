"""`erm-gym replay`: shows a recording, and simulates it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.evaluation import RunError

if TYPE_CHECKING:
    from erm_gym.evaluation.replaying import Replay as Comparison


@dataclass(frozen=True, kw_only=True)
class Replay(Command):
    """Show what was said in a recording, and simulate it again to the same tokens."""

    file: Annotated[Path, tyro.conf.Positional]
    """A file that erm_gym.envs.text.RecordTranscripts wrote."""
    show: int = 10
    """Episodes to show, the first ones."""
    simulate: bool = True
    """Whether to simulate the recording again, and compare the tokens."""
    llm: str | None = None
    """Language model, if it has another name or place than when it was recorded."""
    critic: str | None = None
    """Critic, if it had no name when it was recorded."""
    device: str | None = None
    """Device of the language model, if it is another one here."""

    def run(self, console: Console) -> Outcome:
        """Shows the first episodes, then simulates all of them."""
        if self.show < 0:
            raise RunError(f"show must be at least 0, got {self.show}")
        load_libraries(console)
        from erm_gym.emotion.fear_colours import legend
        from erm_gym.evaluation import read_recording, replay

        recording = read_recording(self.file)
        conversations = recording.conversations()
        for conversation in conversations[: self.show]:
            console.print(_panel(conversation))
        if any(reply["fear"] for reply in recording.replies) and self.show:
            console.print(legend())
        if len(conversations) > self.show:
            console.print(f"and {len(conversations) - self.show} more", style="dim")
        if not self.simulate:
            return Outcome({"episodes": len(conversations)})
        with ProgressDisplay(console) as display:
            comparison = replay(
                recording,
                llm=self.llm,
                critic=self.critic,
                device=self.device,
                progress=lambda done, total: display.update(
                    "simulating", done, total, unit="events"
                ),
            )
        console.print(_sentence(comparison))
        result = {"episodes": len(conversations), **asdict(comparison)}
        return Outcome(result, exit_code=0 if comparison.first_difference is None else 1)


def _panel(conversation: Sequence[dict[str, Any]]) -> Panel:
    """One episode: what was said, and what the user thought of each reply."""
    from erm_gym.envs.text.rendering import to_table
    from erm_gym.evaluation.replaying import lines_of

    scores = "  ".join(_score(reply["feedback"]) for reply in conversation)
    verdict = conversation[-1]["feedback"]["verdict"]
    if verdict is not None:
        scores += f"  verdict {verdict:+.2f}"
    first = conversation[0]
    return Panel(
        Group(to_table(lines_of(conversation)), "", Text(scores, style="dim")),
        title=f"row {first['row']}, episode {first['episode']}",
        title_align="left",
        border_style="bright_black",
    )


def _score(feedback: dict[str, Any]) -> str:
    """What the user thought of a reply; recordings of before it could be silent lack `given`."""
    told = f"{feedback['score']:+.2f}" if feedback.get("given", True) else "no feedback"
    return f"{told} {feedback['stance']}".rstrip()


def _sentence(comparison: Comparison) -> Text:
    if comparison.first_difference is None:
        text = f"{comparison.replies} of {comparison.replies} replies have the same tokens again"
        return Text(text, style="green")
    return Text(
        f"{comparison.equal} of {comparison.replies} replies have the same tokens again; the first "
        f"other one is {comparison.first_difference}. Machine, threads, versions and weights must "
        "be those of the recording",
        style="bold red",
    )
