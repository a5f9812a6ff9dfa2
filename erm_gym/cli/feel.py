"""`erm-gym feel`: what an emotional critic feels while it reads a text."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich import box
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_notice

if TYPE_CHECKING:
    from erm_gym.emotion.generation import EmotionalText

STDIN = "-"
BAR_WIDTH = 24


@dataclass(frozen=True, kw_only=True)
class Feel(Command):
    """Show what an emotional critic feels while it reads what a user says."""

    text: Annotated[str, tyro.conf.Positional]
    """What the user says; - reads it from stdin."""
    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    critic: str = "default"
    """Critic: a folder, a hub id, or the shipped one of the language model."""
    device: str = "cpu"
    """Device of the language model, such as cpu or cuda."""

    def run(self, console: Console) -> Outcome:
        """Reads the text, and shows its tokens and what is felt behind them."""
        text = sys.stdin.read() if self.text == STDIN else self.text
        load_libraries(console)
        from erm_gym.emotion.fear_colours import coloured_tokens, legend
        from erm_gym.emotion.generation import read_emotional
        from erm_gym.envs.text.critic_rows import resolve_critic
        from erm_gym.llm import load_llm

        with console.status(f"Loading {self.llm} ..."):
            llm = load_llm(self.llm, device=self.device)
            critic = resolve_critic(self.critic, llm)
        print_notice(console, critic.notice())
        read = read_emotional(llm, critic, text)
        console.print(coloured_tokens(read.pieces, read.total_fear))
        console.print(legend())
        felt = _felt(read)
        console.print(_table(felt[-1]))
        return Outcome(
            {
                "llm": self.llm,
                "critic": self.critic,
                "trained": critic.config.trained,
                "text": read.text,
                "tokens": [
                    {"id": token, "text": piece, **here}
                    for token, piece, here in zip(read.tokens, read.pieces, felt, strict=True)
                ],
                "after": felt[-1],
            }
        )


def _felt(read: EmotionalText) -> list[dict[str, dict[str, float]]]:
    """What is felt after each token: the six emotions, and the two fears."""
    return [
        {
            "emotion": read.signals[position].as_dict(),
            "fear": dict(zip(("phasic", "tonic"), fear.tolist(), strict=True)),
        }
        for position, fear in enumerate(read.fear)
    ]


def _table(felt: dict[str, Any]) -> Table:
    """What is felt after the text, one value a line, each with a bar from 0 to 1."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("after the text", style="bold", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("from 0 to 1", width=BAR_WIDTH, no_wrap=True)
    emotions, fears = felt["emotion"], felt["fear"]
    for name, value in emotions.items():
        table.add_row(name, f"{value:.2f}", _bar(value), end_section=name == list(emotions)[-1])
    for name, value in fears.items():
        table.add_row(Text(f"{name} fear"), f"{value:.2f}", _bar(value))
    return table


def _bar(value: float) -> Bar:
    return Bar(1.0, 0.0, value, width=BAR_WIDTH)
