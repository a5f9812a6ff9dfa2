"""`erm-gym users`: the list, one user tried, and a template that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from erm_gym.feedback.users import STAGES, registry, user_names
from tests.cli.conftest import Run

ROOT = Path(__file__).parent.parent.parent

POLITE = '''
"""Users of a test."""

from erm_gym.feedback import Feedback


def polite(prompt: str, reply: str) -> float:
    """Likes to be thanked."""
    return 0.5 if "thank" in reply else -0.5


class Itemised:
    """Has parts."""

    def __call__(self, episodes, rng):
        return [
            Feedback(
                score=0.25,
                components={"tone": 0.5, "[length]": -0.25},
                stance="hedge",
                says="Well, well.",
                leaves=True,
                verdict=1.0,
            )
            for _ in episodes
        ]


ITEMISED = Itemised()
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the folder that the command is given in."""
    (tmp_path / "users_of_a_test.py").write_text(POLITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    yield "users_of_a_test"
    sys.modules.pop("users_of_a_test", None)


@pytest.mark.parametrize("arguments", [("users",), ("users", "list")])
def test_all_users_are_listed(run: Run, arguments: tuple[str, ...]) -> None:
    finished = run(*arguments)
    assert finished.code == 0
    for name in [*user_names(), *STAGES]:
        assert f"  {name} " in finished.out
    assert "Rewards a careful reply" in finished.out


def test_a_broken_user_is_listed_as_such(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "gone", "no_such_module:User")
    path = tmp_path / "list.json"
    finished = run("users", "list", "--json", path)
    assert (finished.code, "broken: the user 'gone' of erm-gym" in finished.out) == (0, True)
    listed = {user["name"]: user for user in json.loads(path.read_text())["users"]}
    assert "No module named 'no_such_module'" in listed["gone"]["problem"]
    assert listed["risk-averse"]["problem"] == "" and listed["risk-averse"]["description"]


def test_a_user_is_tried(run: Run, module: str, tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    user = f"0.5*{module}:polite + 0.5*{module}:ITEMISED"
    finished = run("users", "try", user, "Hi", "thank you", "--llm", "tiny", "--json", path)
    assert finished.code == 0, finished.err
    shown = " ".join(finished.out.split())
    assert f"{module}:polite +0.25" in shown
    assert f"{module}:ITEMISED.tone +0.25" in shown
    assert f"{module}:ITEMISED.[length] -0.12" in shown
    assert "score +0.38" in shown and "stance hedge" in shown and "says Well, well." in shown
    assert "leaves yes" in shown and "verdict +0.50" in shown
    result = json.loads(path.read_text())
    assert result["score"] == pytest.approx(0.375) and result["given"] is True
    assert result["components"][f"{module}:ITEMISED.[length]"] == pytest.approx(-0.125)
    assert (result["user"], result["risk"], result["verdict"]) == (user, 0.0, 0.5)


def test_the_seed_decides_what_is_drawn(run: Run, module: str) -> None:
    def tried(seed: int) -> str:
        user = f"{module}:polite | noise(0.2)"
        return run("users", "try", user, "Hi", "no", "--llm", "tiny", "--seed", seed).out

    assert tried(1) == tried(1) != tried(2)
    assert "noise" in tried(1)
    silent = run("users", "try", f"{module}:polite | sparse(0)", "Hi", "no", "--llm", "tiny")
    assert "no feedback" in silent.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("risk-avers", "Hi", "Yes"), "unknown user 'risk-avers'; did you mean 'risk-averse'?"),
        (("no_such:user", "Hi", "Yes"), "cannot import the user 'no_such:user'"),
        (("math:copysign", "", "Yes"), "is empty; give it at least one word"),
        (("math:copysign", "Hi", "Yes"), "the user 'math:copysign' failed"),
        (("math:copysign", "Hi", "Yes", "--seed", "-1"), "seed must be at least 0"),
        (("math:copysign", "Hi", "Yes", "--risk", "3"), "risk must be in [0, 1]"),
    ],
)
def test_what_users_can_put_right_is_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    finished = run("users", "try", *arguments, "--llm", "tiny")
    assert (finished.code, finished.err.count("\n")) == (2, 1)
    assert message in finished.err


def pytest_in(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Runs a test as a user does, in its folder."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", test],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_user_works_and_its_test_passes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = run("users", "new", "likes_tea.py")
    assert finished.code == 0, finished.err
    assert "class LikesTea:" in (tmp_path / "likes_tea.py").read_text()
    assert "likes_tea:LikesTea" in finished.out
    tested = pytest_in(tmp_path, "test_likes_tea.py")
    assert tested.returncode == 0 and "3 passed" in tested.stdout, tested.stdout + tested.stderr
    tried = run("users", "try", "likes_tea:LikesTea(words=2)", "Tea?", "Tea!", "--llm", "tiny")
    assert tried.code == 0 and "topic" in tried.out
    sys.modules.pop("likes_tea", None)
    again = run("users", "new", "likes_tea.py")
    assert (again.code, "exists; choose another name" in again.err) == (2, True)


def test_the_test_of_a_new_user_can_fail(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "my_user.py"
    run("users", "new", path)
    path.write_text(path.read_text().replace("length + topic", "length"))
    tested = pytest_in(tmp_path, "test_my_user.py")
    assert tested.returncode == 1 and "2 failed, 1 passed" in tested.stdout


@pytest.mark.parametrize("name", ["my-user.py", "my_user.txt", "class.py", "3.py"])
def test_a_file_that_cannot_be_imported_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    finished = run("users", "new", tmp_path / name)
    assert (finished.code, "cannot be imported" in finished.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_my_user.py").write_text("mine")
    finished = run("users", "new", tmp_path / "my_user.py")
    assert (finished.code, "test_my_user.py exists" in finished.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["test_my_user.py"]
