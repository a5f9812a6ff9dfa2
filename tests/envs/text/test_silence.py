"""A user that says nothing: no reward, no feedback for the critic, nothing to learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import RecordTranscripts
from erm_gym.evaluation import read_recording, replay
from erm_gym.feedback import Episode, Feedback, Prompt, UserError

PROMPTS = [Prompt(text="Hi"), Prompt(text="Please help me")]


class Picky:
    """Says nothing of replies to `Hi`, and dislikes all others."""

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [
            Feedback.silent() if episode.prompt.text == "Hi" else Feedback(score=-0.8)
            for episode in episodes
        ]


def make(**options: Any) -> Any:
    defaults = {"llm": "tiny", "user": Picky(), "prompts": PROMPTS, "max_new_tokens": 2}
    kind = options.pop("kind", "CandidateGeneration")
    return gym.make_vec(
        f"erm_gym:ErmGym/{kind}-v0",
        num_envs=2,
        **{**defaults, "prompt_order": "sequential", "k": 4, **options},
    )


def test_silence_earns_nothing_and_is_told() -> None:
    envs = make()
    envs.reset(seed=0)
    envs.step(np.array([0, 0]))
    _, rewards, _, truncated, infos = envs.step(np.array([0, 0]))
    assert truncated.all()
    assert rewards.tolist() == [0.0, -0.8]
    final = infos["final_info"]
    np.testing.assert_array_equal(final["feedback"], [np.nan, -0.8])
    assert final["feedback_given"].tolist() == [False, True]
    assert final["user_feedback"][0] == Feedback.silent()
    assert final["reward_terms"]["feedback"].tolist() == [0.0, -0.8]


def test_the_critic_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[torch.Tensor] = []
    observe = EmotionalCritic.observe

    def spy(self: Any, states: Any, state: Any, feedback: Any = None, *more: Any) -> Any:
        told.append(feedback)
        return observe(self, states, state, feedback, *more)

    monkeypatch.setattr(EmotionalCritic, "observe", spy)
    envs = make(keep_tonic_fear=True)
    envs.reset(seed=0)
    envs.step(np.array([0, 0]))
    told.clear()
    observations, *_ = envs.step(np.array([0, 0]))
    np.testing.assert_allclose(told[0].numpy(), [np.nan, -0.8])
    # What was disliked leaves tonic fear behind, which has decayed once; silence does not.
    assert observations["fear"][:, 1].tolist() == [0.0, pytest.approx(0.27)]


def test_a_clock_of_turns_goes_on_in_silence() -> None:

    class Then:
        """Dislikes the first reply, and says nothing of later ones."""

        converses = True

        def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
            return [
                Feedback.silent(says="Go on") if each.turns else Feedback(score=-1.0, says="No")
                for each in episodes
            ]

    envs = make(kind="Conversation", user=Then(), fear_clock="turn", max_turns=3)
    observations, _ = envs.reset(seed=0)
    tonic = []
    for _ in range(4):
        observations, _, _, _, infos = envs.step(np.array([0, 0]))
        tonic.append(float(observations["fear"][0, 1]))
    # Raised by 0.3 with the first reply; it decays by 0.9 with every reply, silent or not.
    assert tonic == pytest.approx([0.0, 0.27, 0.27, 0.243], abs=1e-6)
    assert infos["feedback_given"].tolist() == [False, False]


def test_the_online_critic_learns_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = make(online_critic=True)
    trainer = envs.unwrapped.online
    learned: list[tuple[int, float]] = []
    record = trainer.record

    def spy(turns: Any, feedback: float) -> None:
        learned.append((len(turns), feedback))
        record(turns, feedback)

    monkeypatch.setattr(trainer, "record", spy)
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.array([0, 0]))
    assert [length for length, _ in learned] == [2]
    assert learned[0][1] == pytest.approx(-0.8)


def test_a_silent_turn_is_part_of_what_later_ones_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late:
        """Says nothing of the first reply, and dislikes the second."""

        converses = True

        def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
            return [
                Feedback(score=-1.0, says="No") if each.turns else Feedback.silent(says="Go on")
                for each in episodes
            ]

    envs = make(kind="Conversation", user=Late(), online_critic=True, max_turns=2)
    learned: list[int] = []
    monkeypatch.setattr(
        envs.unwrapped.online, "record", lambda turns, feedback: learned.append(len(turns))
    )
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([0, 0]))
    assert learned == [4, 4]  # said, replied in silence, said, replied: for both rows


@pytest.mark.parametrize("kind", ["CandidateGeneration", "Conversation"])
def test_a_recording_of_silence_is_simulated_again(tmp_path: Path, kind: str) -> None:
    envs = RecordTranscripts(make(kind=kind), tmp_path / "recording.jsonl")
    envs.reset(seed=0)
    for _ in range(6):
        envs.step(np.array([0, 1]))
    envs.close()
    recording = read_recording(tmp_path / "recording.jsonl")
    given = {reply["prompt"]["text"]: reply["feedback"]["given"] for reply in recording.replies}
    assert given == {"Hi": False, "Please help me": True}
    again = replay(recording)
    assert (again.equal, again.first_difference) == (len(recording.replies), None)


def test_a_text_that_is_no_user_is_an_error_before_the_model_is_loaded() -> None:
    with pytest.raises(UserError, match=r"unknown user 'risk-avers'.*column 5"):
        make(user="0.5*risk-avers + 0.5*math:copysign", llm="no such model")


def test_an_expression_is_a_user_of_an_environment() -> None:
    envs = make(user="math:copysign | clipped(-0.5, 0.5) | sparse(0)")
    assert envs.unwrapped.user.name == "math:copysign | clipped(-0.5, 0.5) | sparse(0)"
