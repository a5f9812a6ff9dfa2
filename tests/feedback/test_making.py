"""Users from names, functions and objects; whatever they answer is checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import (
    CheckedUser,
    Episode,
    Feedback,
    JudgeError,
    Prompt,
    PromptError,
    RiskAverseUser,
    UserError,
    make_user,
    user_names,
)
from erm_gym.feedback.users import Given, Noise
from erm_gym.llm import FrozenLLM, LLMError

EPISODES = [
    Episode(prompt=Prompt(text="How are you?"), reply="Fine"),
    Episode(prompt=Prompt(text="Who are you?"), reply="Nobody"),
]


def ask(user: Any, llm: FrozenLLM) -> list[Feedback]:
    return make_user(user, llm)(EPISODES, np.random.default_rng(0))


def by_length(prompt: str, reply: str) -> float:
    return len(reply) / 10


def in_batches(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
    return [Feedback(score=episode.seed / 10) for episode in episodes]


class Listener:
    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [Feedback(score=0.5, components={"listened": 0.5}) for _ in episodes]


def test_a_function_is_a_user(llm: FrozenLLM) -> None:
    assert [feedback.score for feedback in ask(by_length, llm)] == [0.4, 0.6]
    assert [feedback.score for feedback in ask(lambda prompt, reply: -1, llm)] == [-1.0, -1.0]
    assert make_user(by_length, llm).name == "by_length"


def test_an_object_and_a_function_of_episodes_are_users(llm: FrozenLLM) -> None:
    assert [dict(feedback.components) for feedback in ask(Listener(), llm)] == [
        {"listened": 0.5},
        {"listened": 0.5},
    ]
    assert [feedback.score for feedback in ask(in_batches, llm)] == [0.0, 0.0]
    assert make_user(Listener(), llm).name == "Listener"


def test_a_default_argument_does_not_count(llm: FrozenLLM) -> None:
    def user(prompt: str, reply: str, scale: float = 0.1) -> float:
        return scale

    assert [feedback.score for feedback in ask(user, llm)] == [0.1, 0.1]


def test_names(llm: FrozenLLM) -> None:
    assert "risk-averse" in user_names() and user_names() == sorted(user_names())
    user = make_user("risk-averse", llm)
    assert isinstance(user.user, RiskAverseUser) and user.name == "risk-averse"
    assert make_user(user, llm) is user
    with pytest.raises(UserError, match=r"unknown user 'risk-avers'; did you mean 'risk-averse'"):
        make_user("risk-avers", llm)
    with pytest.raises(UserError, match=r"unknown user 'zzz'; there are \[.*'risk-averse'"):
        make_user("zzz", llm)


def test_import_paths(llm: FrozenLLM) -> None:
    user = make_user("math:copysign", llm)  # takes two numbers, so it fails when it is asked
    assert isinstance(user, CheckedUser)
    with pytest.raises(UserError, match="cannot import the user 'no_such:thing'"):
        make_user("no_such:thing", llm)
    with pytest.raises(UserError, match="cannot import the user 'math:thing'"):
        make_user("math:thing", llm)
    with pytest.raises(UserError, match="'math:pi' is no user"):
        make_user("math:pi", llm)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (3.0, "'float' is no user: it must be a function"),
        (None, "'NoneType' is no user"),
        (lambda: 0.0, "takes 0 arguments; write it as"),
        (lambda prompt, reply, more: 0.0, "takes 3 arguments"),
        (max, "max"),  # a builtin without a signature
    ],
)
def test_what_is_no_user_is_named(llm: FrozenLLM, user: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_user(user, llm)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (JudgeError("no judge for this model"), "cannot be made: no judge for this model"),
        (LLMError("unknown model"), "cannot be made: unknown model"),
        (PromptError("no prompts"), "cannot be made: no prompts"),
        (ValueError("weight is 3"), "cannot be made: weight is 3"),
        (KeyError("weights"), r"cannot be made: KeyError\('weights'\)"),
        (AttributeError("no attribute 'x'"), "cannot be made: no attribute 'x'"),
        (RuntimeError("out of memory"), "cannot be made: out of memory"),
        (AssertionError(), r"cannot be made: AssertionError\(\)"),
    ],
    ids=repr,
)
def test_a_user_that_cannot_be_made_is_named(
    llm: FrozenLLM, error: Exception, message: str
) -> None:
    class Broken(Listener):
        @classmethod
        def for_llm(cls, llm: FrozenLLM) -> Broken:
            raise error

    with pytest.raises(UserError, match=f"the user 'Broken' {message}") as caught:
        make_user(Broken, llm)
    assert caught.value.__cause__ is error


def test_an_error_of_a_user_s_own_words_is_left_alone(llm: FrozenLLM) -> None:
    class Careful(Listener):
        @classmethod
        def for_llm(cls, llm: FrozenLLM) -> Careful:
            raise UserError("the careful user needs a model")

    with pytest.raises(UserError) as caught:
        make_user(Careful, llm)
    assert str(caught.value) == "the careful user needs a model"


def test_a_user_that_raises_is_named_with_the_prompt(llm: FrozenLLM) -> None:
    def grumpy(prompt: str, reply: str) -> float:
        raise KeyError("no answer")

    with pytest.raises(UserError, match=r"'grumpy' failed.*no answer.*How are you"):
        ask(grumpy, llm)


@pytest.mark.parametrize("score", [math.nan, 1.5, -2.0, "good", None])
def test_a_score_that_is_none_is_named_with_user_and_prompt(llm: FrozenLLM, score: Any) -> None:
    def odd(prompt: str, reply: str) -> Any:
        return score if prompt.startswith("Who") else 0.0

    with pytest.raises(UserError, match=r"'odd'.*Who are you"):
        ask(odd, llm)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([Feedback(score=0.0)], "gave 1 answers to 2 episodes"),
        ([Feedback(score=0.0), 0.5], r"answered 0.5 to the prompt 'Who are you\?'"),
        (None, r"failed at the prompt 'How are you\?'"),
    ],
)
def test_answers_of_the_wrong_kind_are_named(llm: FrozenLLM, answers: Any, message: str) -> None:
    def odd(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return answers

    with pytest.raises(UserError, match=f"'odd' {message}"):
        ask(odd, llm)


def test_an_interrupt_is_no_failure_of_the_user(llm: FrozenLLM) -> None:
    def slow(prompt: str, reply: str) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(slow, llm)


class Drawing:
    """Sees no noise itself; its score is 0."""

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [Feedback(score=0.0) for _ in episodes]


def noise_of(user: Any, llm: FrozenLLM, seed: int = 3) -> Feedback:
    episode = Episode(prompt=Prompt(text="Hi"), reply="Ho", seed=seed)
    return make_user(user, llm)([episode], np.random.default_rng(0))[0]


def test_stages_of_users_that_were_made_before_draw_their_own(llm: FrozenLLM) -> None:
    """An expression within draws as the same one that is written out."""
    plain, noise = Given(user=Drawing()), Noise(scale=0.1)
    once = noise_of(plain | noise, llm).score
    twice = noise_of(plain | noise | noise, llm).score
    assert abs(twice - 2.0 * once) > 1e-3  # the second noise is another one
    noisy = make_user(plain | noise, llm)
    for within in (noisy, plain | noise, noisy.user):
        assert noise_of(Given(user=within) | noise, llm).score == twice
    assert noise_of(noisy, llm).score == once  # and is itself as before


def test_terms_that_were_made_before_draw_their_own(llm: FrozenLLM) -> None:
    noisy = make_user(Given(user=Drawing()) | Noise(scale=0.1), llm)
    both = noise_of(0.5 * Given(user=noisy) - 0.5 * Given(user=noisy), llm)
    assert abs(both.score) > 1e-3  # the same noise would cancel out
    inner = make_user(0.5 * Given(user=noisy) - 0.5 * Given(user=noisy), llm)
    assert noise_of(0.5 * Given(user=inner) + 0.5 * Given(user=inner), llm).score != both.score
