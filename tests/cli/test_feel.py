"""`erm-gym feel`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from erm_gym.emotion import EMOTIONS, EmotionalCritic
from erm_gym.emotion.generation import read_emotional
from erm_gym.llm import load_llm
from tests.cli.conftest import Run

TEXT = "Is it safe?"


@pytest.fixture
def critic(tmp_path: Path) -> Path:
    """A critic that counts as trained, and fears something."""
    critic = EmotionalCritic.for_llm(load_llm("tiny"))
    last = critic.fear_module.danger_net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=3.0, generator=torch.Generator().manual_seed(0))
    folder = tmp_path / "critic"
    critic.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "trained": True}))
    return folder


def test_it_shows_the_text_and_what_is_felt_after_it(
    run: Run, critic: Path, tmp_path: Path
) -> None:
    finished = run(
        "feel", TEXT, "--llm", "tiny", "--critic", critic, "--json", tmp_path / "felt.json"
    )
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[0] == TEXT
    assert lines[1].startswith("fear at each token:")
    llm = load_llm("tiny")
    read = read_emotional(llm, EmotionalCritic.from_pretrained(critic, llm=llm), TEXT)
    values = [*read.signals.tensor[-1].tolist(), *read.fear[-1].tolist()]
    rows = [line for line in lines[2:] if line.strip().startswith((*EMOTIONS, "phasic", "tonic"))]
    names = (*EMOTIONS, "phasic fear", "tonic fear")
    for row, name, value in zip(rows, names, values, strict=True):
        assert row.strip().startswith(name)
        assert row.replace(name, "").split()[0] == f"{value:.2f}"
        assert abs(row.count("█") - 24 * value) <= 1  # the last block may be a part of one
    result = json.loads((tmp_path / "felt.json").read_text())
    assert (result["llm"], result["trained"], result["text"]) == ("tiny", True, TEXT)
    assert [token["id"] for token in result["tokens"]] == read.tokens
    assert "".join(token["text"] for token in result["tokens"]) == TEXT
    for position, token in enumerate(result["tokens"]):
        assert list(token["emotion"]) == list(EMOTIONS)
        felt = read.signals.tensor[position].tolist()
        assert list(token["emotion"].values()) == pytest.approx(felt, abs=1e-5)
        phasic, tonic = read.fear[position].tolist()
        assert token["fear"] == pytest.approx({"phasic": phasic, "tonic": tonic}, abs=1e-5)
    assert result["after"] == {key: result["tokens"][-1][key] for key in ("emotion", "fear")}


def test_tokens_are_coloured_on_a_terminal_only(
    run: Run, critic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("feel", TEXT, "--llm", "tiny", "--critic", critic)
    assert "\x1b" not in run(*arguments).out
    # rich keeps a style as it was written first, and other tests want these colours unrounded
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    coloured = run(*arguments).out
    assert ";48;" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert ";48;" not in run(*arguments).out


def test_an_untrained_critic_is_told_and_text_comes_from_stdin(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Help!\nNow!\n"))
    finished = run("feel", "-", "--llm", "tiny")
    assert finished.code == 0
    notice, text = finished.out.splitlines()[:2]
    assert "'tiny' is untrained" in notice
    assert text == "Help! ↵ Now!"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "--llm", "tiny"), "the prompt is empty"),
        (("a" * 600, "--llm", "tiny"), "reads at most 512"),
        (("Hello", "--llm", "tinny"), "did you mean 'tiny'"),
        (("Hello", "--llm", "tiny", "--critic", "nowhere"), "No critic at 'nowhere'"),
    ],
)
def test_what_users_can_put_right_is_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    finished = run("feel", *arguments)
    assert (finished.code, finished.err.count("\n")) == (2, 1)
    assert message in finished.err
