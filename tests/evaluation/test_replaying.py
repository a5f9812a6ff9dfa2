"""A recording is read and simulated again to the same tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import RecordingError, RecordTranscripts
from erm_gym.evaluation import read_recording, replay
from erm_gym.evaluation.replaying import lines_of
from erm_gym.feedback import ConversationConfig, ConversingUser, make_user
from erm_gym.llm import FrozenLLM, load_llm

PROMPTS = ["Hi", "Please help me", "Why?", "What is it that you want?"]
KINDS: dict[str, dict[str, Any]] = {
    "CandidateGeneration": {"top_p": 0.9, "prompt_order": "sequential"},
    "TokenGeneration": {"critic": None},
    "EmotionControl": {"tokens_per_action": 2, "keep_tonic_fear": True},
    "Conversation": {"max_turns": 3},
}


def moody(prompt: str, reply: str) -> float:
    return len(reply) % 7 / 3.5 - 1.0


def record(path: Path, kind: str, steps: int = 12, **options: Any) -> None:
    """Random actions, from resets without a seed."""
    defaults = {"llm": "tiny", "prompts": PROMPTS, "max_new_tokens": 4, "user": moody}
    settings = {**defaults, **KINDS[kind], **options}
    envs = gym.make_vec(f"erm_gym:ErmGym/{kind}-v0", num_envs=3, **settings)
    envs = RecordTranscripts(envs, path)
    rng = np.random.default_rng(0)
    observations, _ = envs.reset()  # from seeds that nobody knows but the recording
    for _ in range(steps):
        if kind == "EmotionControl":
            actions = rng.uniform(-1, 1, (3, 8)).astype(np.float32)
        else:
            mask = observations.get("action_mask", np.ones((3, 259)))
            actions = np.array([rng.choice(np.flatnonzero(row)) for row in mask])
        observations, _, terminated, truncated, _ = envs.step(actions)
        done = terminated | truncated
        if options.get("autoreset_mode") == AutoresetMode.DISABLED and done.any():
            observations, _ = envs.reset(options={"reset_mask": done})
    envs.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokens_again(tmp_path: Path, kind: str) -> None:
    record(tmp_path / "a.jsonl", kind)
    calls: list[tuple[int, int]] = []
    recording = read_recording(tmp_path / "a.jsonl")
    report = replay(recording, progress=lambda *call: calls.append(call))
    assert report.replies == report.equal == len(recording.replies) >= 5
    assert report.first_difference is None
    assert calls[-1] == (len(recording.events), len(recording.events))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_other_autoreset_modes(tmp_path: Path, mode: AutoresetMode) -> None:
    record(tmp_path / "a.jsonl", "Conversation", autoreset_mode=mode)
    report = replay(read_recording(tmp_path / "a.jsonl"))
    assert report.replies == report.equal >= 5


def test_what_was_recorded_can_be_torn_anywhere(tmp_path: Path) -> None:
    """Whatever stopped the program: the lines before it are a recording."""
    record(tmp_path / "a.jsonl", "Conversation", steps=8)
    data = (tmp_path / "a.jsonl").read_bytes()
    cut = tmp_path / "cut.jsonl"
    whole = len(read_recording(tmp_path / "a.jsonl").replies)
    for share in (0.5, 0.9):
        cut.write_bytes(data[: int(share * len(data))])
        report = replay(read_recording(cut))
        assert report.replies == report.equal <= whole
    assert report.replies > 0


def test_a_difference_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(path, "TokenGeneration")
    lines = path.read_text().splitlines()
    index = next(n for n, line in enumerate(lines) if "reply" in json.loads(line))
    event = json.loads(lines[index])
    event["reply"]["tokens"][0] += 1
    lines[index] = json.dumps(event)
    path.write_text("\n".join(lines) + "\n")
    report = replay(read_recording(path))
    assert report.equal == report.replies - 1
    row = event["reply"]["row"]
    assert report.first_difference == f"row {row}, episode 0, turn 0"


def test_episodes_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "Conversation")
    conversations = read_recording(tmp_path / "a.jsonl").conversations()
    first = next(one for one in conversations if one[-1]["last"])
    lines = lines_of(first)
    assert [line.speaker for line in lines] == ["user", "assistant"] * len(first) + ["user"]
    assert lines[0].tokens == (first[0]["prompt"]["text"],)
    assert lines[1].fear == tuple(first[0]["fear"])
    assert lines[-1].tokens == (first[-1]["feedback"]["says"],)


@pytest.mark.parametrize("text", ["", "{}\n", '{"format": "another"}\n', "no json\n{}\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError, match=r"a\.jsonl"):
        read_recording(path)
    with pytest.raises(RecordingError, match="cannot read"):
        read_recording(tmp_path / "b.jsonl")


def test_what_has_no_name_is_asked_for(tmp_path: Path, tiny: FrozenLLM) -> None:
    critic = EmotionalCritic.for_llm(tiny)
    record(tmp_path / "a.jsonl", "EmotionControl", critic=critic)
    recording = read_recording(tmp_path / "a.jsonl")
    with pytest.raises(RecordingError, match=r"critic .* had no name; save it"):
        replay(recording)
    critic.save_pretrained(tmp_path / "critic")
    report = replay(recording, critic=str(tmp_path / "critic"))
    assert report.equal == report.replies


def test_another_language_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(path, "TokenGeneration", steps=5)
    header, *rest = path.read_text().splitlines()
    changed = {**json.loads(header), "llm_fingerprint": "another"}
    path.write_text("\n".join([json.dumps(changed), *rest]) + "\n")
    with pytest.raises(RecordingError, match="recorded with the LM another, but 'tiny' is"):
        replay(read_recording(path))


def test_seeds_that_come_again_and_users_of_their_own(tmp_path: Path) -> None:
    """The answers are those of the recording, whatever the seeds and whoever the user was."""
    patient = ConversingUser(
        make_user(moody, load_llm("tiny")), ConversationConfig(good_replies_needed=9)
    )
    options = {"prompts": PROMPTS, "max_new_tokens": 3, "max_turns": 5, "user": patient}
    name = "erm_gym:ErmGym/Conversation-v0"
    inner = gym.make_vec(name, num_envs=2, llm="tiny", keep_tonic_fear=True, **options)  # type: ignore[arg-type]
    envs = RecordTranscripts(inner, tmp_path / "a.jsonl")
    rng = np.random.default_rng(0)
    for seed in (0, 0, [3, 3]):
        envs.reset(seed=seed)
        for _ in range(20):
            envs.step(rng.integers(3, size=2))
    report = replay(read_recording(envs.path))
    assert report.replies == report.equal > 20


def test_the_precision_is_that_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(path, "EmotionControl", llm=load_llm("tiny", dtype="bfloat16"))
    recording = read_recording(path)
    assert recording.header["options"]["dtype"] == "bfloat16"
    report = replay(recording)
    assert report.replies == report.equal > 0
