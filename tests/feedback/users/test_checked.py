"""Whatever a user answers, it is feedback or an error that names the user and the prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback import Episode, Feedback, Prompt, UserError, make_user
from erm_gym.feedback.users import registry
from erm_gym.llm import FrozenLLM

EPISODES = [Episode(prompt=Prompt(text=f"Question {n}?"), reply="Yes") for n in range(3)]

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=2),
    st.just(Feedback(score=0.5)),
    st.just(np.float32(0.25)),
    st.just(np.zeros(2)),
)


def is_score(value: Any) -> bool:
    try:
        return -1.0 <= float(value) <= 1.0
    except (TypeError, ValueError, OverflowError):
        return False


@settings(deadline=None)
@given(st.lists(anything, min_size=3, max_size=3), st.booleans())
def test_a_function(llm: FrozenLLM, values: list[Any], waits: bool) -> None:
    def user(prompt: str, reply: str) -> Any:
        return values[int(prompt[9])]

    async def awaited(prompt: str, reply: str) -> Any:
        return user(prompt, reply)

    asked = make_user(awaited if waits else user, llm)
    bad = [n for n, value in enumerate(values) if not is_score(value)]
    if not bad:
        answers = asked(EPISODES, np.random.default_rng(0))
        assert [answer.score for answer in answers] == [float(value) for value in values]
        return
    with pytest.raises(UserError) as caught:
        asked(EPISODES, np.random.default_rng(0))
    assert f"the user '{asked.name}' failed" in str(caught.value)
    assert f"'Question {bad[0]}?'" in str(caught.value)


@settings(deadline=None)
@given(st.lists(anything, max_size=5))
def test_an_object(llm: FrozenLLM, values: list[Any]) -> None:
    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> Any:
        return values

    asked = make_user(user, llm)
    fine = len(values) == 3 and all(isinstance(value, Feedback) for value in values)
    if fine:
        assert asked(EPISODES, np.random.default_rng(0)) == values
        return
    with pytest.raises(UserError, match=r"the user 'user'.*'Question \d\?'"):
        asked(EPISODES, np.random.default_rng(0))


@pytest.mark.parametrize("score", [1.5, math.nan, -math.inf, "much", None])
def test_a_score_that_no_feedback_can_have_names_its_episode(llm: FrozenLLM, score: Any) -> None:
    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [
            Feedback(score=score if episode.prompt.text == "Question 1?" else 0.0)
            for episode in episodes
        ]

    message = r"the user 'user' failed at the prompt 'Question 1\?': the score must be a number"
    with pytest.raises(UserError, match=message):
        make_user(user, llm)(EPISODES, np.random.default_rng(0))


def test_what_is_wrong_with_a_batch_only_names_its_first_episode(llm: FrozenLLM) -> None:
    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        if len(episodes) > 2:
            raise ValueError("too many")
        return [Feedback(score=0.0) for _ in episodes]

    with pytest.raises(UserError, match=r"in a batch that starts with 'Question 0\?': too many"):
        make_user(user, llm)(EPISODES, np.random.default_rng(0))


def test_an_address_asks_for_the_remote_user(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote:
        """Stands for a user elsewhere."""

        def __init__(self, url: str, timeout: float) -> None:
            self.url, self.timeout = url, timeout

        @classmethod
        def for_llm(cls, llm: FrozenLLM, *, url: str, timeout: float = 10.0) -> Remote:
            return cls(url, timeout)

        def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
            return [Feedback(score=self.timeout / 10) for _ in episodes]

    monkeypatch.setitem(registry.BUILT_IN, "remote", "math:pi")
    monkeypatch.setattr(registry.RegisteredUser, "load", lambda self: Remote)
    made = make_user("http://localhost:8000/user(timeout=5)", llm)
    assert isinstance(made.user, Remote) and made.user.url == "http://localhost:8000/user"
    assert made(EPISODES[:1], np.random.default_rng(0))[0].score == 0.5
    with pytest.raises(UserError, match="needs the option 'url'"):
        make_user("remote", llm)
