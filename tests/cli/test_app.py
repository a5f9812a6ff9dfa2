"""What holds for every command: help, errors, interrupts, and `--json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from erm_gym.agents import AgentError, agent_names
from erm_gym.cli.command import Outcome
from erm_gym.cli.doctor import Doctor
from erm_gym.emotion import CriticError
from erm_gym.envs.text import OptionError
from erm_gym.evaluation import RunError, RunInterrupted
from erm_gym.feedback import JudgeError, PromptError, UserError
from erm_gym.llm import LLMError
from tests.cli.conftest import Run

COMMANDS = ("train", "evaluate", "compare", "demo", "doctor")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(self: Doctor, console: Console) -> NoReturn:
        raise error

    monkeypatch.setattr(Doctor, "run", run)


def test_the_module_runs_and_names_every_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "erm_gym.cli", "--help"]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0
    assert all(f"• {name} " in result.stdout for name in COMMANDS)
    assert result.stderr == ""


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom erm_gym.cli import main\n"
        f"for command in {[[], *([name] for name in COMMANDS)]}:\n"
        "    try: main([*command, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "    heavy = {'torch', 'transformers', 'stable_baselines3', 'matplotlib'}\n"
        "    assert not heavy & sys.modules.keys(), command"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)


def test_help_of_train_names_every_agent(run: Run) -> None:
    words = run("train", "--help").out.replace(",", " ").replace(".", " ").split()
    assert set(agent_names()) <= set(words)


def test_a_flag_that_does_not_exist_is_refused_with_a_suggestion(run: Run) -> None:
    finished = run("train", "ppo", "--setps", "5")
    assert finished.code == 2
    assert "--steps" in finished.err


@pytest.mark.parametrize(
    "kind",
    [
        AgentError,
        CriticError,
        JudgeError,
        LLMError,
        OptionError,
        PromptError,
        RunError,
        UserError,
    ],
)
def test_what_users_can_put_right_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    message = "bad [bold] value " + "long " * 40
    fail_with(monkeypatch, kind(message))
    finished = run("doctor")
    assert (finished.code, finished.out, finished.err) == (2, "", f"erm-gym: {message}\n")


def test_a_defect_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        run("doctor")


@pytest.mark.parametrize(
    ("interrupt", "message"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (RunInterrupted("go on with: erm-gym x"), "go on with: erm-gym x"),
    ],
)
def test_an_interrupt_has_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException, message: str
) -> None:
    fail_with(monkeypatch, interrupt)
    finished = run("doctor")
    assert (finished.code, finished.err) == (130, f"erm-gym: {message}\n")


@pytest.mark.parametrize(("before", "after"), [(None, "passive"), ("active", "active")])
def test_idle_threads_wait_quietly_unless_asked_otherwise(
    run: Run, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    fail_with(monkeypatch, KeyboardInterrupt())
    run("doctor")
    assert os.environ["OMP_WAIT_POLICY"] == after


def test_json_holds_the_result_and_its_folder_is_made(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Doctor, "run", lambda self, console: Outcome({"found": 3}, exit_code=1))
    path = tmp_path / "new" / "result.json"
    finished = run("doctor", "--json", path)
    assert finished.code == 1
    assert finished.out == f"result: {path}\n"
    assert json.loads(path.read_text()) == {"found": 3}
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_json_that_cannot_be_written_is_told_before_the_work(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(monkeypatch, AssertionError("the work began"))
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "result.json"):
        finished = run("doctor", "--json", path)
        assert finished.code == 2
        assert str(path) in finished.err
