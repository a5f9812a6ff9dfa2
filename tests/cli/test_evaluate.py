"""`erm-gym evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from erm_gym.cli.evaluate import some_of_each
from erm_gym.evaluation import EpisodeRecord, read_records
from tests.cli.conftest import TINY, Run

FEW = ("--llm", "tiny", "--episodes", "6")


def always_content(prompt: str, reply: str) -> float:
    """A user of its own."""
    return 0.25


def test_an_untrained_agent_by_name(run: Run, tmp_path: Path) -> None:
    result, transcripts = tmp_path / "a.json", tmp_path / "new" / "a.jsonl"
    finished = run(
        "evaluate", "frozen", *FEW, "--json", result, "--transcripts", transcripts, "--show", 2
    )
    assert finished.code == 0
    assert "\x1b" not in finished.out
    assert finished.out.count("is untrained") == 1
    records = read_records(transcripts)
    assert len(records) == 6
    risky, harmless = (next(r for r in records if r.risky == risky) for risky in (True, False))
    shown = " ".join(finished.out.replace("│", " ").split())
    assert risky.prompt in shown
    assert harmless.prompt in shown
    values = json.loads(result.read_text())
    assert values["metrics"]["episodes"] == 6
    assert f"{values['metrics']['feedback']:+.2f}" in finished.out
    # The same seed says the same, another one something else.
    again = run("evaluate", "frozen", *FEW, "--json", tmp_path / "b.json")
    assert again.code == 0
    assert json.loads((tmp_path / "b.json").read_text()) == values
    run("evaluate", "frozen", *FEW, "--json", tmp_path / "c.json", "--seed", 1)
    assert json.loads((tmp_path / "c.json").read_text())["metrics"] != values["metrics"]


def test_a_trained_agent_by_its_folder(run: Run, tmp_path: Path) -> None:
    folder, result = tmp_path / "run", tmp_path / "result.json"
    assert run("train", "ppo", *TINY, "--steps", 80, "--out", folder).code == 0
    user = f"{__name__}:always_content"
    arguments = ("--episodes", 2, "--user", user, "--json", result, "--show", 0)
    finished = run("evaluate", folder, *arguments)
    assert finished.code == 0
    metrics = json.loads(result.read_text())["metrics"]
    assert (metrics["feedback"], metrics["careful_on_risky"]) == (0.25, None)
    assert metrics["reply_tokens"] <= 4
    assert -1.0 <= metrics["held_out"] <= 1.0  # of sentiment, for a model without other heads
    assert "fear at each token" not in finished.out

    finished = run("evaluate", folder, "--llm", "tiny")
    assert (finished.code, "--llm" in finished.err) == (2, True)
    (folder / "model.zip").write_bytes((folder / "model.zip").read_bytes()[:1000])
    finished = run("evaluate", folder)
    assert (finished.code, "model.zip" in finished.err) == (2, True)


def test_columns_and_domains_are_named_on_the_command_line(run: Run, tmp_path: Path) -> None:
    file, transcripts = tmp_path / "questions.csv", tmp_path / "a.jsonl"
    file.write_text("question,harm,domain\nMay I?,0.2,law\nHow?,0.9,money\nWhy?,1,law\n")
    arguments = ("evaluate", "frozen", "--llm", "tiny", "--show", 0)
    source = f"{file}?text=question&risk=harm"
    for split, asked in (("all:law", ["May I?", "Why?"]), ("all:-law", ["How?"])):
        wanted = ("--prompts", source, "--split", split, "--transcripts", transcripts)
        assert run(*arguments, *wanted).code == 0
        assert [record.prompt for record in read_records(transcripts)] == asked
    finished = run(*arguments, "--prompts", f"{file}?text=qestion")
    assert (finished.code, "did you mean 'question'?" in finished.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ppo"], "erm-gym train ppo"),
        (["frozen", *FEW, "--split", "test:wepons"], "did you mean 'weapons'?"),
        (["frozn"], "did you mean 'frozen'?"),
        (["runs/none"], "runs/none is no folder of a run"),
        (["frozen", *FEW, "--split", "tset"], "unknown split 'tset'"),
        (["frozen", *FEW, "--show", "-1"], "show must be at least 0"),
        (["frozen", "--llm", "tiny", "--episodes", "0"], "at least 1"),
        (["frozen", *FEW, "--critic", "none", "--transcripts", "/"], "cannot write /"),
    ],
)
def test_what_cannot_be_evaluated(run: Run, arguments: list[str], message: str) -> None:
    finished = run("evaluate", *arguments)
    assert finished.code == 2
    assert message in finished.err


def test_half_of_what_is_shown_is_risky() -> None:
    records = [
        EpisodeRecord(
            prompt_id=str(number),
            domain="any",
            risky=number in (2, 3, 4),
            prompt="?",
            reply="",
            score=0.0,
            stance="",
            tokens=[],
            logprob=0.0,
            steps=1,
        )
        for number in range(5)
    ]

    def shown(count: int) -> list[str]:
        return [record.prompt_id for record in some_of_each(records, count)]

    assert shown(0) == []
    assert shown(1) == ["2"]
    assert shown(4) == ["2", "3", "0", "1"]
    assert shown(100) == ["2", "3", "4", "0", "1"]


def test_canaries_are_compared_with_the_frozen_model(run: Run, tmp_path: Path) -> None:
    result = tmp_path / "a.json"
    user = f"{__name__}:always_content"
    options = (*FEW, "--show", 0, "--held-out-user", user, "--json", result)
    finished = run("evaluate", "random", *options)
    assert finished.code == 0
    values = json.loads(result.read_text())
    assert values["metrics"]["held_out"] == 0.25
    alarms = {alarm["canary"]: alarm for alarm in values["alarms"]}
    assert alarms["held_out"]["value"] == alarms["held_out"]["frozen"] == 0.25
    assert "canaries: what was not rewarded" in finished.out
    assert run("evaluate", "frozen", *options).code == 0
    frozen = json.loads(result.read_text())
    assert frozen["alarms"] is None
    for name, value in frozen["metrics"]["canaries"].items():
        assert alarms[name]["frozen"] == pytest.approx(value)
    finished = run("evaluate", "random", *options, "--no-baseline")
    assert json.loads(result.read_text())["metrics"] == values["metrics"]
    assert json.loads(result.read_text())["alarms"] is None
    assert "canaries: what" not in finished.out
