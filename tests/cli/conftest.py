"""The command line as a user meets it, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from erm_gym.cli import main

TINY = ("--llm", "tiny", "--dtype", "float32", "--num-envs", "2", "--max-new-tokens", "4")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Few prompts, in pairs: an environment that reads them is made at once."""
    path = tmp_path / "prompts.csv"
    rows = [
        f"{pair}-{risk},{pair},{split},{risk},Question {pair} {risk}?"
        for split, pairs in (("train", range(4)), ("test", range(4, 8)))
        for pair in pairs
        for risk in (0, 1)
    ]
    path.write_text("\n".join(["prompt_id,pair_id,split,risk,text", *rows]) + "\n")
    return path


Run = Callable[..., Finished]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `erm-gym` with some arguments, as in a log: neither stdout nor stderr is a terminal."""
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")

    def call(*arguments: object) -> Finished:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        return Finished(code, *capsys.readouterr())

    return call
