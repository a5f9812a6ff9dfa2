"""`erm-gym replay`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from erm_gym.envs.text import RecordTranscripts
from tests.cli.conftest import Run


@pytest.fixture
def recording(tmp_path: Path, prompts: Path) -> Path:
    """Three rows of conversations with two turns of two tokens; the last ones are unfinished."""
    name = "erm_gym:ErmGym/Conversation-v0"
    options: dict[str, Any] = {"max_new_tokens": 2, "max_turns": 2, "prompts": str(prompts)}
    envs = RecordTranscripts(
        gym.make_vec(name, num_envs=3, llm="tiny", **options), tmp_path / "recording.jsonl"
    )
    observations, _ = envs.reset(seed=0)
    ends = envs.env.unwrapped.llm.end_of_turn  # type: ignore[attr-defined]
    for _ in range(6):
        likeliest_ends = np.isin(observations["candidates"][:, 0], list(ends))
        observations = envs.step(likeliest_ends.astype(int))[0]
    return envs.path


def test_it_shows_and_simulates(run: Run, recording: Path, tmp_path: Path) -> None:
    finished = run("replay", recording, "--show", 1, "--json", tmp_path / "result.json")
    assert finished.code == 0
    shown = " ".join(finished.out.replace("│", " ").split())
    assert "row 0, episode 0" in shown and "row 1" not in shown
    assert "Question" in shown and "verdict" in shown and "fear at each token" in shown
    assert "9 of 9 replies have the same tokens again" in shown
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {"episodes": 6, "replies": 9, "equal": 9, "first_difference": None}


def test_a_difference_ends_with_1(run: Run, recording: Path) -> None:
    text = recording.read_text()
    line = [line for line in text.splitlines() if '"reply"' in line][-1]
    reply = json.loads(line)["reply"]
    reply["tokens"][0] += 1
    recording.write_text(text.replace(line, json.dumps({"reply": reply})))
    finished = run("replay", recording, "--show", 0)
    assert finished.code == 1
    place = f"row {reply['row']}, episode {reply['episode']}, turn {reply['turn']}"
    assert "8 of 9 replies" in finished.out and place in finished.out


def test_it_need_not_simulate(run: Run, recording: Path) -> None:
    finished = run("replay", recording, "--no-simulate")
    assert (finished.code, "the same tokens" in finished.out) == (0, False)
    assert finished.out.count(", episode ") == 6


def test_what_is_no_recording_is_one_line(run: Run, tmp_path: Path, prompts: Path) -> None:
    for path in (tmp_path / "none.jsonl", prompts):
        finished = run("replay", path)
        assert (finished.code, finished.err.count("\n")) == (2, 1)
        assert path.name in finished.err
