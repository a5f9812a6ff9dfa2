"""`erm-gym users`: lists the simulated users, tries one, and writes the beginning of a new one."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.new_user import new_user
from erm_gym.cli.tables import score
from erm_gym.evaluation import RunError

if TYPE_CHECKING:
    from erm_gym.feedback import Feedback


@dataclass(frozen=True, kw_only=True)
class ListUsers(Command):
    """List the simulated users that are there, and what can be done to their feedback."""

    def run(self, console: Console) -> Outcome:
        """Imports every user for the first line of its docstring."""
        load_libraries(console)
        from erm_gym.feedback import UserError
        from erm_gym.feedback.users import STAGES, registered_users

        listed = []
        for name, user in registered_users().items():
            entry = {"name": name, "source": user.source, "description": "", "problem": ""}
            try:
                entry["description"] = user.describe()
            except UserError as error:
                entry["problem"] = str(error)
            listed.append(entry)
        stages = [
            {"name": name, "description": (stage.__doc__ or "").splitlines()[0]}
            for name, stage in STAGES.items()
        ]
        console.print(_users_table(listed))
        table = _table("behind a |", "what happens to the feedback")
        for stage in stages:
            table.add_row(stage["name"], Text(stage["description"]))
        console.print(table)
        console.print(
            Text(
                'Put together: "0.7*risk-averse + 0.3*my_module:my_user | noise(0.1)". '
                "Try one: erm-gym users try NAME PROMPT REPLY",
                style="dim",
            )
        )
        return Outcome({"users": listed, "stages": stages})


@dataclass(frozen=True, kw_only=True)
class TryUser(Command):
    """Show what a user says of a reply, with the components of the score."""

    user: Annotated[str, tyro.conf.Positional]
    """A name, package.module:attribute, an address, or an expression of these."""
    prompt: Annotated[str, tyro.conf.Positional]
    """What was asked."""
    reply: Annotated[str, tyro.conf.Positional]
    """What was answered."""
    risk: float | None = None
    """Risk of the prompt, from 0 to 1; by default 0, or that of the package's own prompt."""
    llm: str = "smollm2-135m"
    """Language model that built-in users read with: an alias, a folder or a hub id."""
    device: str = "cpu"
    """Device of the language model, such as cpu or cuda."""
    seed: int = 0
    """Seed of what the user draws."""

    def run(self, console: Console) -> Outcome:
        """Asks the user once."""
        load_libraries(console)
        import numpy as np

        from erm_gym.feedback import Episode, Prompt, load_prompts, make_user
        from erm_gym.feedback.users import parse
        from erm_gym.llm import load_llm

        if self.seed < 0:
            raise RunError(f"seed must be at least 0, got {self.seed}")
        expression = parse(self.user)
        known = {prompt.text: prompt for prompt in load_prompts("default")}
        prompt = known.get(self.prompt, Prompt(text=self.prompt))
        if self.risk is not None:
            prompt = Prompt(text=self.prompt, risk=self.risk)
        with console.status(f"Loading {self.llm} ..."):
            llm = load_llm(self.llm, device=self.device)
        user = make_user(expression, llm)
        episode = Episode(prompt=prompt, reply=self.reply, seed=self.seed)
        feedback = user([episode], np.random.default_rng(self.seed))[0]
        console.print(_feedback_table(user.name, feedback))
        return Outcome(
            {
                "user": user.name,
                "prompt": prompt.text,
                "risk": prompt.risk,
                "reply": self.reply,
                "given": feedback.given,
                "score": float(feedback.score),
                "components": {name: float(part) for name, part in feedback.components.items()},
                "stance": feedback.stance,
                "says": feedback.says,
                "leaves": feedback.leaves,
                "verdict": feedback.verdict,
            }
        )


@dataclass(frozen=True, kw_only=True)
class NewUser(Command):
    """Write the beginning of a user of one's own, and a test of it that passes."""

    file: Annotated[Path, tyro.conf.Positional]
    """The file to write, such as my_user.py; its test goes beside it."""

    def run(self, console: Console) -> Outcome:
        """Writes both files, and overwrites nothing."""
        module = self.file.stem
        if self.file.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
            raise RunError(
                f"{self.file.name!r} cannot be imported; name a file like my_user.py, of letters, "
                "digits and _"
            )
        test = self.file.with_name(f"test_{self.file.name}")
        kind = "".join(part.capitalize() for part in module.split("_")) or "MyUser"
        for path in (self.file, test):
            if path.exists():
                raise RunError(f"{path} exists; choose another name, or move it away")
        for path, text in zip((self.file, test), new_user(module, kind), strict=True):
            _write_new(path, text)
        print_place(console, "user", self.file)
        print_place(console, "test", test)
        name = f"{module}:{kind}"
        console.print(
            Text(
                f"Now: python -m pytest {test}, then, in its folder, "
                f'erm-gym users try {name} "Any question?" "Any reply."',
                style="dim",
            ),
            soft_wrap=True,
        )
        return Outcome({"user": str(self.file), "test": str(test), "name": name})


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(columns[0], style="bold", no_wrap=True)
    for column in columns[1:]:
        table.add_column(column)
    return table


def _users_table(listed: list[dict[str, str]]) -> Table:
    table = _table("user", "what it likes", "of")
    for entry in listed:
        problem = Text(f"broken: {entry['problem']}", "red")
        told = problem if entry["problem"] else Text(entry["description"])
        table.add_row(Text(entry["name"]), told, Text(entry["source"], "dim"))
    return table


def _feedback_table(name: str, feedback: Feedback) -> Table:
    """The components of a score, the score, and what else the user tells."""
    table = Table(title=Text(name, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("component", style="bold")
    table.add_column("value", justify="right", no_wrap=True)
    parts: dict[str, Any] = dict(feedback.components)
    for index, (part, value) in enumerate(parts.items(), 1):
        table.add_row(Text(part), score(value), end_section=index == len(parts))
    table.add_row("score", score(feedback.score) if feedback.given else "no feedback")
    told = {"stance": feedback.stance, "says": feedback.says}
    for label, text in told.items():
        if text:
            table.add_row(label, Text(text))
    if feedback.leaves:
        table.add_row("leaves", "yes")
    if feedback.verdict is not None:
        table.add_row("verdict", score(feedback.verdict))
    return table
