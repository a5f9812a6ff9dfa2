"""Users of other distributions: a small one is built, installed into a folder, and asked."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, UserError, make_user, user_names
from erm_gym.feedback.users import registered_users
from erm_gym.llm import FrozenLLM

EPISODE = Episode(prompt=Prompt(text="Hi"), reply="Yes, yes")

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "some-users"
version = "1.0"

[tool.setuptools]
py-modules = ["some_users", "some_broken_users"]

[project.entry-points."erm_gym.users"]
likes-commas = "some_users:LikesCommas"
likes-yes = "some_users:likes_yes"
bored = "some_users:BORED"
broken = "some_broken_users:Any"
absent = "some_users:Absent"
risk-averse = "some_users:likes_yes"
"not a name" = "some_users:likes_yes"
"""

USERS = '''
from erm_gym.feedback import Feedback


class LikesCommas:
    """Likes commas.

    More of this is not shown.
    """

    def __init__(self, weight):
        self.weight = weight

    @classmethod
    def for_llm(cls, llm, *, weight: float = 0.5, name: str = "", loud: bool = False):
        if weight > 1:
            raise ValueError("weight must be at most 1")
        return cls(weight)

    def __call__(self, episodes, rng):
        return [Feedback(score=self.weight * ("," in episode.reply)) for episode in episodes]


def likes_yes(prompt: str, reply: str) -> float:
    """Likes to hear yes."""
    return 0.1 * reply.lower().count("yes")


class Bored:
    """Says nothing."""

    def __call__(self, episodes, rng):
        return [Feedback.silent() for _ in episodes]


BORED = Bored()
'''


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a wheel of the distribution is installed into."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "some_users.py").write_text(USERS)
    (source / "some_broken_users.py").write_text("raise OSError('no licence')\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    command += ["--no-deps", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(distribution))
    yield
    for name in ("some_users", "some_broken_users"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def ask(user: str, llm: FrozenLLM) -> Feedback:
    return make_user(user, llm)([EPISODE], np.random.default_rng(0))[0]


def test_a_class_a_function_and_an_object(installed: None, llm: FrozenLLM) -> None:
    assert {"likes-commas", "likes-yes", "bored", "broken", "risk-averse"} <= set(user_names())
    assert ask("likes-commas", llm).score == 0.5
    assert ask("likes-commas(weight=0.25)", llm).score == 0.25
    assert ask("likes-yes", llm).score == pytest.approx(0.2)
    assert ask("bored", llm) == Feedback.silent()
    mixed = ask("0.5*likes-commas(weight=1) + 0.5*likes-yes | clipped(0, 0.25)", llm)
    assert mixed.components == pytest.approx(
        {"likes-commas(weight=1)": 0.5, "likes-yes": 0.1, "clipped": -0.35}
    )


def test_without_it_the_names_are_unknown(llm: FrozenLLM) -> None:
    with pytest.raises(UserError, match="unknown user 'likes-commas'"):
        make_user("likes-commas", llm)


def test_a_broken_one_is_an_error_only_when_it_is_asked_for(
    installed: None, llm: FrozenLLM
) -> None:
    told = r"'broken' of some-users is broken: cannot import.*no licence"
    with pytest.raises(UserError, match=told):
        make_user("broken", llm)
    with pytest.raises(UserError, match=r"'absent' of some-users is broken.*no attribute 'Absent'"):
        make_user("absent", llm)
    listed = registered_users()
    assert listed["likes-commas"].describe() == "Likes commas."
    assert listed["likes-yes"].describe() == "Likes to hear yes."
    assert listed["bored"].describe() == "Says nothing."
    assert listed["likes-commas"].source == "some-users"
    with pytest.raises(UserError, match=told):
        listed["broken"].describe()
    with pytest.raises(UserError, match="needs a name of letters, digits, - and _"):
        listed["not a name"].describe()


def test_the_package_keeps_its_own_names(installed: None) -> None:
    assert registered_users()["risk-averse"].source == "erm-gym"
    assert "careful" in registered_users()["risk-averse"].describe()


def test_two_distributions_with_the_same_name(
    installed: None, llm: FrozenLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "more_users-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-users\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[erm_gym.users]\nlikes-yes = math:copysign\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"'likes-yes' of .*-users and of .*-users is there twice"):
        make_user("likes-yes", llm)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("likes-commas(wieght=1)", "unknown option 'wieght'.*did you mean 'weight'"),
        ("likes-commas(weight=much)", "weight.*is 'much'; it must be of the type float"),
        ("likes-commas(weight=true)", "must be of the type float"),
        ("likes-commas(loud=1)", "must be of the type bool, like its default False"),
        ("likes-commas(name=1)", "must be of the type str"),
        ("likes-commas(weight=2)", "'likes-commas' cannot be made: weight must be at most 1"),
        ("likes-yes(weight=2)", "takes no options: only a class with for_llm has any"),
        ("some_users:Bored", "is a class without the classmethod for_llm"),
        ("some_users:LikesCommas(weight=3)", "weight must be at most 1"),
    ],
)
def test_options_are_checked(installed: None, llm: FrozenLLM, user: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_user(user, llm)


def test_a_path_reaches_classes_and_what_is_in_them(installed: None, llm: FrozenLLM) -> None:
    assert ask("some_users:LikesCommas(weight=1)", llm).score == 1.0
    assert ask("some_users:likes_yes", llm).score == pytest.approx(0.2)
    import some_users  # type: ignore[import-not-found]

    assert make_user(some_users.LikesCommas, llm).name == "LikesCommas"
