"""Every code block of the README and of the pages in docs/ runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest

from erm_gym.cli import main
from erm_gym.emotion.training import tonic
from erm_gym.envs.text import RecordTranscripts
from erm_gym.feedback import PromptPool, critic_fitting, load_prompts

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.stem, *block)
    for page in PAGES
    for block in re.findall(r"```(\w+)\n(.*?)```", page.read_text(), flags=re.DOTALL)
]
PYTHON = [(page, code) for page, language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.split("#")[0].strip()
    for _, language, code in BLOCKS
    if language == "console"
    for line in code.splitlines()
]
SMALL = ["--llm", "tiny", "--num-envs", "4", "--steps", "80"]
"""What makes a command of the README quick: a tiny model and few steps."""
TINY_TRAINING = {
    "train": ["--llm", "tiny", "--epochs", "1", "--members", "1", "--cache", "states"],
    "eval": ["--llm", "tiny", "--cache", "states"],
    "tune": ["--llm", "tiny", "--tokens", "160", "--max-new-tokens", "4", "--critic", "default"],
}
"""The same of the commands of `erm-gym erm`."""
TINY_STEERING = {
    "fit": ["--layer", "2", "--head-layer", "3", "--target-layers", "1", "2", "--texts", "10"],
    "sweep": ["--head-layer", "3", "--target-layers", "1", "2", "--quick"],
    "generate": ["--max-new-tokens", "4"],
}
"""The same of the commands of `erm-gym steer`."""
FEW_SEEDS = {
    "ablate": [
        "--seeds",
        "4",
        "--episodes",
        "5",
        "--evaluation-episodes",
        "2",
        "--trials",
        "2",
        "--search-seeds",
        "2",
    ],
    "reproduce": ["--quick", "--experiments", "fear"],
}
"""The same of the classic environments; a later flag counts."""


def test_there_is_something_to_run() -> None:
    assert {page for page, _ in PYTHON} == {page.stem for page in PAGES}
    assert {language for _, language, _ in BLOCKS} == {"python", "console", "toml"}


def test_toml_blocks_can_be_read() -> None:
    for _, language, code in BLOCKS:
        if language == "toml":
            assert tomllib.loads(code)


@pytest.mark.real_model
@pytest.mark.parametrize("code", [code for _, code in PYTHON], ids=range(len(PYTHON)))
def test_python_blocks_run(code: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tonic, "STREAMS", 10)
    monkeypatch.setattr(tonic, "STEPS", 5)
    chosen = {prompt.pair_id for prompt in load_prompts("default").prompts[::40]}
    few = tuple(prompt for prompt in load_prompts("default") if prompt.pair_id in chosen)
    monkeypatch.setattr(critic_fitting, "load_prompts", lambda name: PromptPool(few))
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
        if arguments[0] in FEW_SEEDS:
            arguments = [*arguments, *FEW_SEEDS[arguments[0]], "--jobs", "1"]
        if arguments[0] == "feel":
            arguments = [*arguments, "--llm", "tiny"]
        if arguments[0] == "erm":
            label(Path("labelled"))
            arguments = [*arguments, *TINY_TRAINING[arguments[1]]]
        if arguments[0] == "steer":
            arguments = [*arguments, "--llm", "tiny", *TINY_STEERING[arguments[1]]]
        if arguments[:2] == ["evaluate", "emotional-frozen"]:
            arguments = [*arguments, "--llm", "tiny", "--episodes", "4"]
        if arguments[:2] == ["users", "try"]:
            arguments = [*arguments, "--llm", "tiny"]
        if arguments[0] == "replay":
            record(Path(arguments[1]))
        if arguments[0] == "doctor":
            arguments = [*arguments, "--no-model"]
        ran.append(arguments[0])
        assert main(arguments) in (None, 0)
    training = ["erm", "erm", "erm", "evaluate"]
    users, steering = ["users"] * 3, ["steer"] * 4
    assert ran == [
        *("train", "train", "evaluate", "compare", "doctor"),
        *("ablate", "ablate", "reproduce"),
        *training,
        *("feel", "replay"),
        *steering,
        *users,
        "evaluate",
    ]


def record(path: Path) -> None:
    """What the page has recorded before it replays it."""
    envs = gym.make_vec("erm_gym:ErmGym/EmotionControl-v0", num_envs=2, llm="tiny", seed=0)
    envs = RecordTranscripts(envs, path)
    envs.reset()
    envs.step(envs.action_space.sample())
    envs.close()


def label(folder: Path) -> None:
    """A few labelled and rated texts in the files that a page names."""
    folder.mkdir(exist_ok=True)
    labels = (14, 7, 2, 17)  # fear, curiosity, anger, joy
    lines = [f"text {n} {'oh no' if n % 2 else 'hm'}\t{labels[n % 4]}\tid{n}" for n in range(60)]
    for name in ("goemotions_train.tsv", "goemotions_dev.tsv"):
        (folder / name).write_text("\n".join(lines) + "\n")
    for name in ("emobank_train.csv", "emobank_dev.csv"):
        ratings = [f"{n},{2 + n % 2},{2 + n % 3},{2 + n % 3},{name} {n}" for n in range(180)]
        (folder / name).write_text("\n".join(["id,V,A,D,text", *ratings]) + "\n")
