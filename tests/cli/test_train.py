"""`erm-gym train`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from erm_gym.cli.progress import ProgressDisplay
from tests.cli.conftest import TINY, Run

STEPS = 160  # two updates of PPO with 4 rows


def test_a_run_is_short_in_a_log_and_names_its_folder(run: Run, tmp_path: Path) -> None:
    folder, result = tmp_path / "run", tmp_path / "result.json"
    finished = run("train", "ppo", *TINY, "--steps", STEPS, "--out", folder, "--json", result)
    assert finished.code == 0
    assert "\x1b" not in finished.out
    lines = finished.out.splitlines()
    assert lines[0].startswith("The emotional reward model for 'tiny' is untrained")
    assert lines[-2:] == [f"run: {folder}", f"result: {result}"]
    progress = lines[1:-2]
    assert 2 <= len(progress) <= 12
    assert all(line.startswith("ppo: ") for line in progress)
    assert f"{STEPS}/{STEPS} tokens" in progress[-1]
    assert "feedback" in progress[-1]
    values = json.loads(result.read_text())
    assert (values["steps"], values["folder"]) == (STEPS, str(folder))
    assert (folder / "model.zip").is_file()


def test_the_folder_has_a_name_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = run("train", "frozen", *TINY, "--seed", 3, "--critic", "none")
    assert finished.out == "run: runs/frozen-seed3\n"  # and no notice of a critic
    assert Path("runs/frozen-seed3/config.json").is_file()


def test_an_interrupted_run_goes_on_with_the_command_that_it_names(
    run: Run, tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def interrupt(display: ProgressDisplay, name: str, done: int, total: int, **_: object) -> None:
        if done > STEPS // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressDisplay, "update", interrupt)
        finished = run(
            *("train", "ppo", *TINY, "--prompts", prompts, "--steps", STEPS, "--out", folder)
        )
    assert finished.code == 130
    command = shlex.split(finished.err.strip().partition("go on with: ")[2])
    assert command[:2] == ["erm-gym", "train"]
    result = tmp_path / "result.json"
    assert run(*command[1:], "--json", result).code == 0
    assert json.loads(result.read_text())["steps"] == STEPS
    # A finished run is left as it is.
    before = (folder / "model.zip").read_bytes()
    assert run(*command[1:]).code == 0
    assert (folder / "model.zip").read_bytes() == before


def test_a_folder_in_use_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    finished = run("train", "ppo", *TINY, "--out", tmp_path)
    assert finished.code == 2
    assert "--resume" in finished.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ppoo"], "unknown agent 'ppoo'; did you mean 'ppo'?"),
        (["ppo", "--llm", "tinny"], "unknown LM 'tinny'; did you mean 'tiny'?"),
        (["ppo", *TINY, "--user", "risk-avers"], "did you mean 'risk-averse'?"),
        (["ppo", *TINY, "--prompts", "none.csv"], "no prompts at 'none.csv'"),
        (["ppo", *TINY, "--train-split", "train:-mony"], "did you mean 'money'?"),
        (["emotional-ppo", *TINY, "--critic", "none"], "critic must not be 'none'"),
        (["ppo", *TINY, "--k", "1"], "k must be a whole number, at least 2, got 1"),
        (["ppo", *TINY, "--steps", "0"], "steps must be at least 1, got 0"),
    ],
)
def test_a_bad_option_is_named_in_one_line(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    finished = run("train", *arguments, "--out", tmp_path / "run")
    assert finished.code == 2
    assert message in finished.err
    assert finished.err.count("\n") == 1
    assert not (tmp_path / "run" / "model.zip").exists()
