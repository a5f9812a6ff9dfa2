"""`erm-gym demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import pytest

from erm_gym.cli import demo
from erm_gym.cli.demo import AFTER, BEFORE, MARKER, prepare
from erm_gym.evaluation import RunError, read_records
from tests.cli.conftest import Run


def test_it_says_first_what_is_going_to_happen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_comparison", stop)
    finished = run("demo", "--out", tmp_path / "demo")
    assert finished.code == 130
    assert " ".join(finished.out.split()) == (
        "Trains ppo, emotional-ppo and feared-dqn on smollm2-135m for "
        f"{demo.STEPS:,} tokens each, then asks them and the frozen model the same "
        f"{demo.PROMPTS} held-out prompts. About {demo.MINUTES} minutes on two CPU cores with the "
        "default settings."
    )


def test_it_shows_replies_before_and_after(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "AGENTS", (BEFORE, AFTER))  # two are enough here, and faster
    finished = run("demo", "--llm", "tiny", "--steps", 640, "--episodes", 4, "--out", out)
    assert finished.code == 0
    assert finished.out.count("is untrained") == 1
    results = json.loads((out / "results.json").read_text())
    assert list(results["agents"]) == [BEFORE, AFTER]
    shown = " ".join(finished.out.replace("│", " ").split())
    for agent in (BEFORE, AFTER):
        records = read_records(out / f"transcripts-{agent}-seed0.jsonl")
        assert len(records) == 4
        for risky in (True, False):
            first = next(record for record in records if record.risky == risky)
            assert first.prompt in shown
            assert f"{first.score:+.2f} {first.stance}" in shown
    assert "fear at each token" in shown
    assert (out / "comparison.png").is_file()


def test_a_folder_that_is_no_demonstration_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("mine")
    finished = run("demo", "--llm", "tiny", "--out", tmp_path)
    assert (finished.code, "--out" in finished.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    finished = run("demo", "--llm", "tiny", "--out", tmp_path / "results.json")
    assert (finished.code, "is a file" in finished.err) == (2, True)


def leave_demonstration(folder: Path, settings: dict[str, int], *, finished: bool) -> None:
    prepare(folder, settings)
    (folder / "runs" / "ppo-seed0").mkdir(parents=True)
    names = ("results.json", "transcripts-ppo-seed0.jsonl", "notes.txt", "comparison.png")
    for name in names[: 4 if finished else 3]:
        (folder / name).touch()


def test_a_finished_demonstration_is_overwritten_and_nothing_else(tmp_path: Path) -> None:
    leave_demonstration(tmp_path, {"steps": 1}, finished=True)
    prepare(tmp_path, {"steps": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes.txt"]


@pytest.mark.parametrize(("steps", "stays"), [(1, True), (2, False)])
def test_a_demonstration_that_was_stopped_goes_on_if_it_is_the_same(
    tmp_path: Path, steps: int, stays: bool
) -> None:
    leave_demonstration(tmp_path, {"steps": 1}, finished=False)
    prepare(tmp_path, {"steps": steps})
    assert (tmp_path / "runs" / "ppo-seed0").exists() == stays
    assert (tmp_path / "results.json").exists() == stays
    assert json.loads((tmp_path / MARKER).read_text()) == {"steps": steps}


def test_a_new_folder_is_made(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b", {})
    assert (tmp_path / "a" / "b" / MARKER).is_file()
    with pytest.raises(RunError, match="no earlier demonstration"):
        prepare(tmp_path, {})
