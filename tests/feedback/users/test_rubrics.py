"""Rubric functions as the verifiers library has them, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import (
    Episode,
    Feedback,
    Prompt,
    RiskAverseUser,
    Turn,
    UserError,
    make_user,
    users,
)
from erm_gym.feedback.users import Given, from_rubric, to_rubric
from erm_gym.llm import FrozenLLM

RNG = np.random.default_rng(0)
ASKED = Prompt(text="2 + 2?", risk=0.75, domain="sums", prompt_id="p1")
EPISODE = Episode(prompt=ASKED, reply="4")
LATER = Episode(
    prompt=ASKED,
    reply="4",
    turns=(Turn(said="2 + 2?", reply="Hm.", feedback=Feedback(score=0.0, says="Well?")),),
)


def correct(completion: list[dict[str, str]], answer: str) -> float:
    return 1.0 if completion[-1]["content"] == answer else 0.0


async def brief(completion: list[dict[str, str]], parser: Any) -> float:
    await asyncio.sleep(0)
    return 1.0 - len(parser.parse_answer(completion)) / 10


def test_a_rubric_by_hand() -> None:
    user = from_rubric([correct, brief], [0.5, -0.5], answer=lambda prompt: "4")
    (feedback,) = user([EPISODE], RNG)
    assert feedback.components == pytest.approx({"correct": 0.5, "brief": -0.45})
    assert feedback.score == pytest.approx(0.05)
    assert user.name == "correct+brief"
    both = user([EPISODE, Episode(prompt=ASKED, reply="five")], RNG)
    assert both[1].components == pytest.approx({"correct": 0.0, "brief": -0.3})


def test_functions_get_what_they_name() -> None:
    seen: dict[str, Any] = {}

    def everything(**arguments: Any) -> float:
        seen.update(arguments)
        return 0.0

    def some(*, prompt: Any, state: Any, info: Any, task: str, risk: float, judge: str) -> float:
        assert (state["turn"], state["completion"][0]["content"]) == (1, "4")
        assert (info["prompt_id"], task, judge) == ("p1", "sums", "strict")
        assert [message["role"] for message in prompt] == ["user", "assistant", "user"]
        assert prompt[-1]["content"] == "Well?"
        return risk

    user = from_rubric([everything, some], objects={"judge": "strict"})
    assert user([LATER], RNG)[0].score == 0.75
    assert {"prompt", "completion", "answer", "state", "info", "task", "parser"} <= set(seen)
    assert (seen["answer"], seen["domain"], seen["judge"]) == ("", "sums", "strict")


def test_the_plain_form_is_text() -> None:
    def same(prompt: str, completion: str, parser: Any) -> float:
        return float((prompt, parser.parse_answer(completion)) == ("2 + 2?", parser.parse("4")))

    user = from_rubric(same, conversational=False)
    assert user([EPISODE], RNG)[0].score == 1.0
    with pytest.raises(UserError, match="use conversational=True"):
        user([LATER], RNG)


def test_the_sum_is_mapped_as_declared() -> None:
    def ten() -> float:
        return 10.0

    def one() -> float:
        return 1.0

    (mapped,) = from_rubric([ten, one], scale=0.1, shift=-0.6)([EPISODE], RNG)
    assert mapped.score == pytest.approx(0.5)
    assert mapped.components == pytest.approx({"ten": 1.0, "one": 0.1, "shift": -0.6})
    (clipped,) = from_rubric([ten, one], [1.0, 0.0], scale=0.5, clip=True)([EPISODE], RNG)
    assert clipped.score == 1.0
    assert clipped.components == pytest.approx({"ten": 5.0, "one": 0.0, "clipped": -4.0})
    with pytest.raises(UserError, match=r"'ten\+one': .*score of 11\.0.*clip=True.*'2 \+ 2\?'"):
        from_rubric([ten, one])([EPISODE], RNG)


def test_weights_that_add_up_to_one_only_nearly_are_fine() -> None:
    def a() -> float:
        return 1.0

    def b() -> float:
        return 1.0

    def c() -> float:
        return 1.0

    weights = [0.4, 0.2, 0.4000000000000001]
    assert sum(weights) > 1.0
    assert from_rubric([a, b, c], weights)([EPISODE], RNG)[0].score == 1.0


def wants_prompts(completions: list[Any]) -> list[float]:
    return [0.0 for _ in completions]


def by_position(completion: Any, /) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("functions", "weights", "message"),
    [
        ([], None, "at least one function"),
        ([wants_prompts], None, "'completions', which there is not; did you mean 'completion'"),
        ([by_position], None, "by position"),
        ([correct, correct], None, "2 functions are called 'correct'"),
        ([correct, brief], [1.0], "weights must be 2 numbers"),
        ([correct], [float("nan")], "weights must be 1 numbers"),
        ([correct, "brief"], None, "'brief' is no function"),
    ],
)
def test_rubrics_that_cannot_be(functions: Any, weights: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_rubric(functions, weights)


def test_functions_are_awaited_side_by_side_in_one_loop(llm: FrozenLLM) -> None:
    """The first waits for the second, of another user, and both batches have the same loop."""
    loops = []
    turn = asyncio.Event()

    async def first() -> float:
        loops.append(asyncio.get_running_loop())
        await asyncio.wait_for(turn.wait(), 5.0)
        return 1.0

    async def second() -> float:
        turn.set()
        return 0.5

    one, other = Given(user=from_rubric([first])), Given(user=from_rubric([second, no_hurry]))
    user = make_user(0.5 * one - 0.5 * other, llm)
    for _ in range(2):
        assert [answer.score for answer in user([EPISODE, LATER], RNG)] == [0.25, 0.25]
    assert len(loops) == 4 and len(set(loops)) == 1 and not loops[0].is_closed()


def no_hurry(completion: Any) -> float:
    """A function that is not awaited, beside one that is."""
    return 0.0


def test_failures_name_function_and_prompt(llm: FrozenLLM) -> None:
    def failing(completion: Any) -> float:
        raise KeyError("judge")

    async def waiting(completion: Any) -> float:
        raise KeyError("judge")

    def silent(completion: Any) -> None:
        return None

    for function in (failing, waiting):
        with pytest.raises(UserError, match=rf"'{function.__name__}' failed for .*'2 \+ 2\?'"):
            make_user(from_rubric(function), llm)([EPISODE], RNG)
    with pytest.raises(UserError, match=r"'silent' answered None .*'2 \+ 2\?'; expected a number"):
        make_user(from_rubric(silent), llm)([EPISODE], RNG)


def test_a_user_is_a_rubric_function() -> None:
    shown: list[Episode] = []

    def user(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        shown.extend(episodes)
        return [
            Feedback(score=one.prompt.risk) if one.reply else Feedback.silent() for one in episodes
        ]

    reward = to_rubric(user)
    assert reward.__name__ == "user"
    messages = [{"role": "user", "content": "2 + 2?"}]
    given: dict[str, Any] = {"state": {}, "answer": "4", "task": "sums", "parser": None}
    completion = [{"role": "assistant", "content": "4"}]
    assert reward(prompt=messages, completion=completion, info={"risk": 0.5}, **given) == 0.5
    assert reward(prompt="2 + 2?", completion="4", risk=0.25, info={}) == 0.25
    assert reward(prompt="2 + 2?", completion="") == 0.0
    assert [one.reply for one in shown] == ["4", "4", ""]


def test_a_user_goes_there_and_back() -> None:
    def likes_four(prompt: str, reply: str) -> float:
        return 0.5 if reply == "4" else -0.5

    back = from_rubric([to_rubric(likes_four)])
    answers = back([EPISODE, Episode(prompt=ASKED, reply="5"), LATER], RNG)
    assert [answer.score for answer in answers] == [0.5, -0.5, 0.5]
    assert answers[0].components == {"likes_four": 0.5}


def test_a_user_by_name_needs_a_model(llm: FrozenLLM) -> None:
    for unmade in ("risk-averse", RiskAverseUser, users.named("risk-averse")):
        with pytest.raises(UserError, match="llm='smollm2-135m'"):
            to_rubric(unmade)
    assert -1.0 <= to_rubric("risk-averse", llm)("2 + 2?", "4", risk=1.0) <= 1.0
