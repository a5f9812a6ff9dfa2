from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import OptionError
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.evaluation.recorder import EpisodeRecorder
from erm_gym.feedback import Episode, Feedback, UserError
from erm_gym.llm import FrozenLLM
from erm_gym.llm.text import token_texts


def test_texts_of_tokens_are_the_reply(tiny: FrozenLLM) -> None:
    tokens = tiny.encode_text("né😀!")
    texts = token_texts([*tokens, min(tiny.end_of_turn)], "né😀!", tiny)
    assert texts == ["n", "", "é", "", "", "", "😀", "!", ""]


def test_texts_of_broken_characters_are_the_reply(tiny: FrozenLLM) -> None:
    tokens = tiny.encode_text("😀")[:2] + tiny.encode_text("ab")
    reply = tiny.decode(tokens)
    texts = token_texts(tokens, reply, tiny)
    assert len(texts) == 4
    assert "".join(texts) == reply


def test_records_are_what_happened(tiny: FrozenLLM) -> None:
    critic = EmotionalCritic.for_llm(tiny)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for weight in critic.fear_module.parameters():  # untrained, it feels the same everywhere
            weight.normal_(std=0.3)
    envs = EpisodeRecorder(candidate_generation_vec(3, llm="tiny", max_new_tokens=5, critic=critic))
    rng = np.random.default_rng(0)
    observations, infos = envs.reset(seed=0)
    prompts = list(infos["prompt"])
    fear: list[list[float]] = [[], [], []]
    felt: set[float] = set()
    checked = 0
    while checked < 6:
        for row in range(3):
            fear[row].append(float(observations["fear"][row].max()))
        observations, _, terminated, truncated, infos = envs.step(rng.integers(16, size=3))
        done = np.flatnonzero(terminated | truncated)
        records = envs.drain()
        assert [row for row, _ in records] == done.tolist()
        for row, record in records:
            final = infos["final_info"]
            episode: Episode = final["judged_episode"][row]
            assert record.prompt == prompts[row].text
            assert record.prompt_id == prompts[row].prompt_id
            assert record.risky == prompts[row].risky
            assert record.reply == final["transcript"][row] == "".join(record.tokens)
            assert record.score == final["feedback"][row]
            assert record.stance == final["stance"][row] != ""
            assert np.isclose(sum(record.components.values()), record.score, atol=1e-4)
            assert np.allclose(record.fear, fear[row], atol=1e-4)
            felt.update(record.fear)
            assert record.steps == len(record.tokens) == len(record.fear) == len(episode.tokens)
            assert np.isclose(record.logprob, episode.logprobs.mean())
            prompts[row], fear[row] = infos["prompt"][row], []
            checked += 1
    assert len(felt) > checked  # the fear did change within episodes
    assert envs.drain() == []


def test_the_recorder_changes_nothing() -> None:
    plain = candidate_generation_vec(2, llm="tiny", max_new_tokens=3)
    recorded = EpisodeRecorder(candidate_generation_vec(2, llm="tiny", max_new_tokens=3))
    assert recorded.metadata == plain.metadata
    assert recorded.single_observation_space == plain.single_observation_space
    one, other = plain.reset(seed=4)[0], recorded.reset(seed=4)[0]
    for _ in range(8):
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key])
        actions = np.array([0, 3])
        first, second = plain.step(actions), recorded.step(actions)
        for a, b in zip(first[1:4], second[1:4], strict=True):
            np.testing.assert_array_equal(a, b)
        one, other = first[0], second[0]


def test_a_held_out_user_scores_the_same_episodes_and_changes_no_reward(tiny: FrozenLLM) -> None:
    shown: list[Episode] = []

    def ignored(reply: str) -> bool:
        return sum(map(ord, reply)) % 2 == 0

    def held_out(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        shown.extend(episodes)
        return [
            Feedback.silent()
            if ignored(one.reply)
            else Feedback(score=-0.5, components={"part": -0.5}, stance="hedge")
            for one in episodes
        ]

    options: dict[str, Any] = {
        "llm": "tiny",
        "max_new_tokens": 3,
        "user": lambda prompt, reply: 0.25,
    }
    plain = EpisodeRecorder(candidate_generation_vec(4, **options))
    watched = EpisodeRecorder(candidate_generation_vec(4, **options), held_out)
    rng = np.random.default_rng(0)
    plain.reset(seed=0)
    watched.reset(seed=0)
    for _ in range(30):
        actions = rng.integers(16, size=4)
        one, other = plain.step(actions), watched.step(actions)
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[0]["logprobs"], other[0]["logprobs"])
    records = [record for _, record in watched.drain()]
    assert [record.reply for record in records] == [one.reply for one in shown]
    assert {record.score for record in records} == {0.25}
    assert {ignored(record.reply) for record in records} == {False, True}
    for record in records:
        silent = ignored(record.reply)
        assert record.held_out == (None if silent else -0.5)
        assert record.held_out_stance == ("" if silent else "hedge")
        assert record.held_out_components == ({} if silent else {"part": -0.5})
    assert all(record.held_out is None for _, record in plain.drain())


@pytest.mark.parametrize("rows", [1, 3])
def test_the_held_out_user_draws_other_numbers_than_the_user(rows: int) -> None:
    def drawing(seen: list[float]) -> Any:
        def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
            seen.extend(rng.random(len(episodes)).tolist())
            return [Feedback(score=0.0) for _ in episodes]

        return user

    own: list[float] = []
    others: list[float] = []
    options: dict[str, Any] = {"llm": "tiny", "max_new_tokens": 1, "user": drawing(own)}
    envs = EpisodeRecorder(candidate_generation_vec(rows, **options), drawing(others))
    envs.reset(seed=0)
    envs.step(np.zeros(rows, int))
    assert len(own) == len(others) == rows
    assert not set(own) & set(others)


def test_a_held_out_user_of_whom_something_has_no_effect_is_an_error() -> None:
    envs = candidate_generation_vec(1, llm="tiny", max_new_tokens=1)
    with pytest.raises(OptionError, match="needs a conversation"):
        EpisodeRecorder(envs, "sentiment | delay(2)")


def test_a_held_out_user_that_fails_is_named() -> None:
    def broken(prompt: str, reply: str) -> float:
        return 2.0

    envs = EpisodeRecorder(candidate_generation_vec(1, llm="tiny", max_new_tokens=1), broken)
    envs.reset(seed=0)
    with pytest.raises(UserError, match="the user 'broken' failed"):
        envs.step(np.array([0]))
