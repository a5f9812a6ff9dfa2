"""`RecordTranscripts`: what it writes, and that nothing it wrote is ever lost."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import RecordingError, RecordTranscripts
from erm_gym.envs.text.recording import FORMAT, ONLY_HERE, prompts_of
from erm_gym.feedback import Feedback
from erm_gym.llm import FrozenLLM

PROMPTS = ["Hi", "Please help me", "Why?"]


def content(prompt: str, reply: str) -> float:
    return 0.5


def make(llm: FrozenLLM, kind: str = "CandidateGeneration", **options: Any) -> VectorEnv:
    defaults = {"prompts": PROMPTS, "max_new_tokens": 3, "user": content}
    name = f"erm_gym:ErmGym/{kind}-v0"
    return gym.make_vec(name, num_envs=2, llm=llm, **{**defaults, **options})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_every_reply_is_written_once(llm: FrozenLLM, tmp_path: Path, mode: AutoresetMode) -> None:
    """What the file holds is what the infos told."""
    envs = RecordTranscripts(make(llm, autoreset_mode=mode), tmp_path / "new" / "a.jsonl")
    observations, _ = envs.reset(seed=0)
    expected = []
    for _ in range(9):
        fear = observations["fear"].max(axis=1)
        observations, rewards, terminated, truncated, infos = envs.step(np.array([0, 1]))
        done = terminated | truncated
        told = infos["final_info"] if mode == AutoresetMode.SAME_STEP and done.any() else infos
        for row in np.flatnonzero(done):
            expected.append((row, told["transcript"][row], rewards[row], fear[row]))
        if mode == AutoresetMode.DISABLED and done.any():
            observations, _ = envs.reset(options={"reset_mask": done})
    events = lines(envs.path)
    assert events[0]["format"] == FORMAT
    assert sum("step" in event for event in events) == 9
    replies = [event["reply"] for event in events if "reply" in event]
    assert len(replies) == len(expected) >= 4
    for reply, (row, text, reward, fear_at_last) in zip(replies, expected, strict=True):
        assert (reply["row"], reply["text"], reply["last"]) == (row, text, True)
        assert reply["feedback"]["score"] == reply["reward_terms"]["feedback"] == reward == 0.5
        assert len(reply["tokens"]) == len(reply["token_texts"]) == len(reply["fear"])
        assert reply["fear"][-1] == pytest.approx(fear_at_last)
        assert reply["said"] == reply["prompt"]["text"]
        assert "".join(reply["token_texts"]) == llm.decode(reply["tokens"])
    for index in range(2):
        own = [reply["episode"] for reply in replies if reply["row"] == index]
        assert own == list(range(len(own)))


def test_the_first_line_says_what_the_environment_is(
    llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Path
) -> None:
    envs = RecordTranscripts(make(llm, critic=critic, k=4), tmp_path / "a.jsonl")
    (header,) = lines(envs.path)
    assert header["env_id"] == "ErmGym/CandidateGeneration-v0"
    assert (header["num_envs"], header["user"]) == (2, "content")
    assert header["llm_fingerprint"] == llm.fingerprint
    options = header["options"]
    assert (options["llm"], options["k"], options["autoreset_mode"]) == ("tiny", 4, "SameStep")
    assert options["critic"] == options["user"] == ONLY_HERE
    assert [prompt.text for prompt in prompts_of(options["prompts"])] == PROMPTS
    assert prompts_of("default") == "default"


def test_a_conversation_is_a_reply_per_turn(llm: FrozenLLM, tmp_path: Path) -> None:
    envs = RecordTranscripts(make(llm, "Conversation", max_turns=3), tmp_path / "a.jsonl")
    envs.reset(seed=0)
    for _ in range(9):
        envs.step(np.array([0, 1]))
    replies = [event["reply"] for event in lines(envs.path) if "reply" in event]
    first = [reply for reply in replies if (reply["row"], reply["episode"]) == (0, 0)]
    assert [reply["turn"] for reply in first] == list(range(len(first)))
    assert [reply["last"] for reply in first] == [False] * (len(first) - 1) + [True]
    for earlier, later in pairwise(first):
        assert later["said"] == earlier["feedback"]["says"] != ""
        assert later["seed"] == earlier["seed"]
    assert len(first) >= 2 and first[-1]["feedback"]["verdict"] is not None


def test_a_file_that_is_there_is_left_alone(llm: FrozenLLM, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(RecordingError, match=r"a\.jsonl exists; delete it or record into another"):
        RecordTranscripts(make(llm), path)
    assert path.read_text() == "mine"
    with pytest.raises(RecordingError, match="cannot write"):
        RecordTranscripts(make(llm), path / "below" / "a.jsonl")


def test_only_text_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="only text environments"):
        RecordTranscripts(gym.make_vec("CartPole-v1", num_envs=1), tmp_path / "a.jsonl")


def test_an_interrupt_leaves_whole_lines(llm: FrozenLLM, tmp_path: Path) -> None:
    """In the middle of the second reply; every line can be read, without a close."""
    inner = make(llm)
    envs = RecordTranscripts(inner, tmp_path / "a.jsonl")
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([0, 1]))
    before = envs.path.read_bytes()

    def interrupt(step: Any) -> Any:
        raise KeyboardInterrupt

    inner.unwrapped._rows._slots._forward = interrupt  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        envs.step(np.array([0, 1]))
    assert envs.path.read_bytes() == before
    assert [sorted(event) for event in lines(envs.path)[1:]].count(["reply"]) >= 2


def test_a_step_that_was_taken_and_lost_ends_the_recording(llm: FrozenLLM, tmp_path: Path) -> None:
    """The replies are finished, but the next prompts cannot be read: nothing to write."""
    inner = make(llm, max_new_tokens=1)
    envs = RecordTranscripts(inner, tmp_path / "a.jsonl")
    envs.reset(seed=0)
    before = envs.path.read_bytes()
    slots = inner.unwrapped._rows._slots  # type: ignore[attr-defined]
    prefill = slots.prefill

    def interrupt(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    slots.prefill = interrupt
    with pytest.raises(KeyboardInterrupt):
        envs.step(np.array([0, 1]))
    slots.prefill = prefill
    with pytest.raises(RecordingError, match=r"a\.jsonl ends where a step failed"):
        envs.step(np.array([0, 1]))
    with pytest.raises(RecordingError, match="into another file"):
        envs.reset(seed=1)
    assert envs.path.read_bytes() == before


def test_numbers_of_numpy_in_feedback_are_written(llm: FrozenLLM, tmp_path: Path) -> None:
    def user(episodes: Any, rng: Any) -> list[Feedback]:
        half: Any = np.float32(0.5)
        return [Feedback(score=half, components=MappingProxyType({"a": half})) for _ in episodes]

    envs = RecordTranscripts(make(llm, user=user, max_new_tokens=1), tmp_path / "a.jsonl")
    envs.reset(seed=0)
    envs.step(np.array([0, 1]))
    reply = lines(envs.path)[-1]["reply"]
    assert (reply["feedback"]["score"], reply["feedback"]["components"]) == (0.5, {"a": 0.5})


class FullDisk:
    """A file whose disk has room for so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, data: bytes) -> int:
        fits = data[: self.room]
        self.room -= len(fits)
        if data and not fits:
            raise OSError(28, "No space left on device")
        return int(self.file.write(fits))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_leaves_what_was_written(llm: FrozenLLM, tmp_path: Path, room: int) -> None:
    envs = RecordTranscripts(make(llm), tmp_path / "a.jsonl")
    envs.reset(seed=0)
    before = envs.path.read_bytes()
    envs._file = FullDisk(envs._file, room)  # type: ignore[assignment]
    with pytest.raises(RecordingError, match=r"cannot write .*(?i:no space left).*before is whole"):
        envs.step(np.array([0, 1]))
    assert envs.path.read_bytes() == before


def test_recording_changes_nothing(llm: FrozenLLM, tmp_path: Path) -> None:
    plain, recorded = make(llm), RecordTranscripts(make(llm), tmp_path / "a.jsonl")
    one, other = plain.reset(seed=4)[0], recorded.reset(seed=4)[0]
    for _ in range(7):
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key])
        first, second = plain.step(np.array([0, 3])), recorded.step(np.array([0, 3]))
        for a, b in zip(first[1:4], second[1:4], strict=True):
            np.testing.assert_array_equal(a, b)
        one, other = first[0], second[0]
    recorded.close()
    with pytest.raises(RuntimeError, match="closed"):
        recorded.step(np.array([0, 3]))
