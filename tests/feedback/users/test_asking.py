"""Users that are awaited: all at the same time, with or without a running event loop."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, UserError, make_user
from erm_gym.feedback.users import Given
from erm_gym.llm import FrozenLLM

EPISODES = [Episode(prompt=Prompt(text=f"Question {n}?"), reply="Yes") for n in range(4)]


def ask(user: Any, llm: FrozenLLM, episodes: Sequence[Episode] = EPISODES) -> list[float]:
    return [answer.score for answer in make_user(user, llm)(episodes, np.random.default_rng(0))]


class Meeting:
    """Answers only when as many askers as expected are there: one after the other would hang."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.there = 0

    async def arrive(self) -> None:
        self.there += 1
        for _ in range(200):
            if self.there >= self.expected:
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"{self.there} of {self.expected} asked at the same time")


def test_an_async_function_is_asked_about_all_episodes_at_once(llm: FrozenLLM) -> None:
    meeting = Meeting(4)

    async def user(prompt: str, reply: str) -> float:
        await meeting.arrive()
        return int(prompt[9]) / 10

    assert ask(user, llm) == [0.0, 0.1, 0.2, 0.3]


def test_async_members_of_a_sum_are_asked_at_once_within_pipes_too(llm: FrozenLLM) -> None:
    meeting = Meeting(3)

    class Member:
        def __init__(self, score: float) -> None:
            self.score = score

        async def __call__(
            self, episodes: Sequence[Episode], rng: np.random.Generator
        ) -> list[Feedback]:
            await meeting.arrive()
            return [Feedback(score=self.score) for _ in episodes]

    from erm_gym.feedback.users import Clipped

    a, b, c = (Given(user=Member(score)) for score in (1.0, 0.5, -0.25))
    plain = Given(user=lambda prompt, reply: 0.4)
    total = 0.25 * (a | Clipped(low=-1.0, high=0.8)) + 0.5 * (0.5 * b + 0.5 * plain) + 0.25 * c
    # 0.25 * 0.8 + 0.5 * (0.25 + 0.2) + 0.25 * -0.25
    assert ask(total, llm) == pytest.approx([0.3625] * 4)


def test_in_a_running_event_loop(llm: FrozenLLM) -> None:
    async def inner(prompt: str, reply: str) -> float:
        await asyncio.sleep(0)
        return 0.5

    async def outer(prompt: str, reply: str) -> float:  # asks another from within its own loop
        return ask(inner, llm, EPISODES[:1])[0] / 2

    async def notebook() -> tuple[list[float], list[float]]:
        return ask(inner, llm), ask(outer, llm)

    assert asyncio.run(notebook()) == ([0.5] * 4, [0.25] * 4)


def test_the_loop_lives_on_so_that_clients_keep_their_connections(llm: FrozenLLM) -> None:
    loops = []

    async def user(prompt: str, reply: str) -> float:
        loops.append(asyncio.get_running_loop())
        return 0.0

    async def notebook() -> None:
        ask(user, llm)
        ask(user, llm)

    ask(user, llm)
    ask(user, llm)
    assert len(set(map(id, loops))) == 1 and not loops[0].is_closed()
    loops.clear()
    asyncio.run(notebook())
    assert len(set(map(id, loops))) == 1 and not loops[0].is_closed()


def test_users_that_are_not_awaited_stay_in_their_thread_and_need_no_loop(llm: FrozenLLM) -> None:
    threads = []

    def user(prompt: str, reply: str) -> float:
        threads.append(threading.get_ident())
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return 0.0

    ask(user, llm)
    assert set(threads) == {threading.get_ident()}


def test_partials_and_methods_are_awaited(llm: FrozenLLM) -> None:
    class Judge:
        async def score(self, prompt: str, reply: str, bonus: float = 0.0) -> float:
            return 0.5 + bonus

    assert ask(Judge().score, llm) == [0.5] * 4
    assert ask(functools.partial(Judge().score, bonus=0.25), llm) == [0.75] * 4


def test_the_first_error_ends_the_others_and_names_user_and_prompt(llm: FrozenLLM) -> None:
    ended = []

    async def user(prompt: str, reply: str) -> float:
        if prompt == "Question 2?":
            await asyncio.sleep(0.01)
            raise KeyError("no answer")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(prompt)
            raise
        return 0.0

    with pytest.raises(UserError, match=r"'user' failed.*no answer.*Question 2"):
        ask(user, llm)
    assert sorted(ended) == ["Question 0?", "Question 1?", "Question 3?"]


def test_what_hides_that_it_is_async_is_told(llm: FrozenLLM) -> None:
    async def hidden(episodes: Sequence[Episode]) -> list[Feedback]:
        return []

    with pytest.raises(UserError, match="define it with `async def`"):
        ask(lambda episodes, rng: hidden(episodes), llm)
