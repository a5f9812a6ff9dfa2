"""`erm-gym erm tune`: the bias learns from a user, the rest stays, and both are measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from erm_gym.emotion import EmotionalCritic
from tests.cli.conftest import TINY, Run


def likes_short(prompt: str, reply: str) -> float:
    return 1.0 if len(reply) < 3 else -1.0


USER = ("--user", f"{__name__}:likes_short")


def test_only_the_bias_is_tuned(run: Run, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    options = (*TINY[:4], "--max-new-tokens", 3, "--num-envs", 8, "--tokens", 1200)
    files = ("--prompts", prompts, "--out", out, "--json", tmp_path / "tune.json")
    tuned = run("erm", "tune", *options, *USER, *files)
    assert tuned.code == 0, tuned.err
    assert "tuning the bias: 1,200/1,200 tokens" in tuned.out
    assert "before: test prompts" in tuned.out and "after: test prompts" in tuned.out
    result = json.loads((tmp_path / "tune.json").read_text())
    assert result == json.loads((out / "tuning.json").read_text())
    assert result["course"]["tokens"] == 1200 and result["gradient"]["tokens"] == 1200
    assert result["before"]["episodes"] == result["after"]["episodes"] == 8
    assert len(result["course"]["feedback"]) >= 5
    critic = EmotionalCritic.from_pretrained(out)
    again = tmp_path / "again"
    options = (*options[:-1], 8)
    more = run(
        "erm", "tune", *options, *USER, "--prompts", prompts, "--critic", out, "--out", again
    )
    assert more.code == 0, more.err
    other = EmotionalCritic.from_pretrained(again)
    for name, weights in critic.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name]), name  # no update in 8 tokens


@pytest.mark.usefixtures("prompts")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--critic", "none"), "critic must not be 'none'"),
        (("--num-envs", "6"), "6 rows cannot be shared out to 4 replies a prompt"),
        (("--tokens", "0"), "tokens is out of range: 0"),
        (("--kl-cost", "-1"), "kl_cost is out of range: -1"),
        (("--prompts", "missing.csv"), "no prompts at 'missing.csv'"),
        (("--out", "file/critic"), "cannot write file/critic"),
    ],
)
def test_what_is_wrong_is_said(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    asked = ("--prompts", "prompts.csv", "--num-envs", 4, "--max-new-tokens", 2, *arguments)
    finished = run("erm", "tune", *TINY[:4], *USER, *asked)
    assert finished.code == 2
    assert message in finished.err and finished.err.count("\n") == 1
