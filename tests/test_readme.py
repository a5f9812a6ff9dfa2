"""Every code block of the README runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from erm_gym.cli import main

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.split("#")[0].strip()
    for language, code in BLOCKS
    if language == "console"
    for line in code.splitlines()
]
SMALL = ["--llm", "tiny", "--num-envs", "4", "--steps", "80"]
"""What makes a command of the README quick: a tiny model and few steps."""


def test_there_is_something_to_run() -> None:
    assert len(PYTHON) == 3
    assert {language for language, _ in BLOCKS} == {"python", "console"}


@pytest.mark.real_model
@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(code: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "make":
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{arguments[0]}:", makefile, flags=re.MULTILINE)
            continue
        assert program == "erm-gym"
        if arguments[0] in ("train", "compare"):
            arguments = [*arguments, *SMALL]
        if arguments[0] == "compare":
            arguments = [*arguments, "--seeds", "1", "--episodes", "8"]
        if arguments[0] == "doctor":
            arguments = [*arguments, "--no-model"]
        ran.append(arguments[0])
        assert main(arguments) in (None, 0)
    assert ran == ["train", "train", "evaluate", "compare", "doctor"]
