"""`erm-gym compare`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import TINY, Run


def test_agents_are_trained_alike_and_shown_in_a_table(
    run: Run, tmp_path: Path, prompts: Path
) -> None:
    out, result = tmp_path / "out", tmp_path / "result.json"
    arguments = [
        *("compare", *TINY, "--agents", "frozen", "emotional-ppo", "--seeds", 1),
        *("--prompts", prompts, "--steps", 80, "--episodes", 4, "--out", out, "--json", result),
        *("--jobs", 1),
    ]
    finished = run(*arguments)
    assert finished.code == 0
    assert "\x1b" not in finished.out
    assert max(map(len, finished.out.splitlines())) <= 130  # the notice, which is not broken
    assert "1/2 evaluate frozen 0: 4/4 replies" in finished.out
    assert "2/2 train emotional-ppo 0: 80/80 tokens" in finished.out
    assert "emotional-ppo scores above frozen with probability" in finished.out
    assert f"results: {out / 'results.json'}\n" in finished.out
    assert f"picture: {out / 'comparison.png'}\n" in finished.out
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads(result.read_text())
    assert results == json.loads((out / "results.json").read_text())
    feedback = results["agents"]["frozen"]["feedback"]
    shown = f"{feedback['mean']:+.2f} [{feedback['low']:+.2f}, {feedback['high']:+.2f}]"
    assert shown in finished.out

    # Called again there is nothing left to do.
    again = run(*arguments)
    assert again.code == 0
    assert "tokens/s" not in again.out
    assert json.loads(result.read_text()) == results


def test_a_misspelt_agent_is_named(run: Run, tmp_path: Path) -> None:
    finished = run("compare", *TINY, "--agents", "frozen", "feard-dqn", "--out", tmp_path / "out")
    assert (finished.code, "did you mean 'feared-dqn'?" in finished.err) == (2, True)
