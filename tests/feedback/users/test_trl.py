"""TRL's reward-function convention, both ways; TRL itself where it is installed."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
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
from erm_gym.feedback.users import Given, Noise, from_trl, to_trl
from erm_gym.llm import FrozenLLM

RNG = np.random.default_rng(0)


def episode(text: str = "May I?", reply: str = "Yes.", **changes: Any) -> Episode:
    prompt = Prompt(text=text, risk=changes.pop("risk", 0.25), domain="food", prompt_id="p1")
    return Episode(prompt=prompt, reply=reply, **changes)


CONVERSATION = episode(
    reply="Then do.",
    turns=(Turn(said="May I?", reply="Why?", feedback=Feedback(score=0.0, says="I like to.")),),
)


class Seen:
    """A reward function that keeps what it was called with."""

    def __init__(self, rewards: Sequence[float | None]) -> None:
        self.rewards = rewards
        self.arguments: dict[str, Any] = {}

    def __call__(self, **arguments: Any) -> list[float | None]:
        self.arguments = arguments
        return list(self.rewards)


def test_a_reward_function_is_called_as_trl_does() -> None:
    function = Seen([0.5, None])
    user = from_trl(function, columns={"solution": lambda prompt: len(prompt.text)})
    answers = user([episode(tokens=np.array([5, 7])), CONVERSATION], RNG)
    assert answers == [Feedback(score=0.5), Feedback.silent()]
    given = function.arguments
    assert given["prompts"] == [
        [{"role": "user", "content": "May I?"}],
        [
            {"role": "user", "content": "May I?"},
            {"role": "assistant", "content": "Why?"},
            {"role": "user", "content": "I like to."},
        ],
    ]
    assert given["completions"] == [
        [{"role": "assistant", "content": "Yes."}],
        [{"role": "assistant", "content": "Then do."}],
    ]
    assert given["completion_ids"] == [[5, 7], []]
    assert given["risk"] == [0.25, 0.25]
    assert given["domain"] == ["food", "food"]
    assert given["prompt_id"] == ["p1", "p1"]
    assert given["solution"] == [6, 6]
    assert given["trainer_state"].global_step == 0
    given["log_extra"]("column", [1, 2])
    given["log_metric"]("metric", 0.5)


def test_the_plain_form_is_text() -> None:
    function = Seen([0.0])
    user = from_trl(function, conversational=False)
    user([episode()], RNG)
    assert (function.arguments["prompts"], function.arguments["completions"]) == (
        ["May I?"],
        ["Yes."],
    )
    with pytest.raises(UserError, match="earlier turns; use conversational=True"):
        user([CONVERSATION], RNG)


def test_a_function_gets_only_what_it_takes() -> None:
    def short(completions: list[Any], risk: list[float], factor: float = 2.0) -> list[float]:
        return [value * factor for value in risk]

    assert from_trl(short)([episode(), episode()], RNG) == [Feedback(score=0.5)] * 2

    def misspelt(completion: list[Any]) -> list[float]:
        return [0.0 for _ in completion]

    with pytest.raises(UserError, match="wants an argument 'completion', which there is not; did"):
        from_trl(misspelt)
    with pytest.raises(UserError, match="cannot be called 'risk'"):
        from_trl(short, columns={"risk": lambda prompt: 0})


def test_all_batches_are_awaited_in_one_loop_and_side_by_side(llm: FrozenLLM) -> None:
    """As a client needs it that keeps its connections; the first user waits for the second."""
    loops = []
    turn = asyncio.Event()

    async def first(completions: list[Any]) -> list[float]:
        loops.append(asyncio.get_running_loop())
        await asyncio.wait_for(turn.wait(), 5.0)
        return [1.0 for _ in completions]

    async def second(completions: list[Any]) -> list[float]:
        turn.set()
        return [0.5 for _ in completions]

    one, other = (Given(user=from_trl(function)) for function in (first, second))
    user = make_user(0.5 * one - 0.5 * other, llm)
    for _ in range(2):
        assert [answer.score for answer in user([episode(), CONVERSATION], RNG)] == [0.25, 0.25]
    assert len(loops) == 2 and len(set(loops)) == 1 and not loops[0].is_closed()


def test_only_an_async_function_is_awaited() -> None:
    async def later() -> list[float]:
        return [0.0]

    def hidden(completions: list[Any]) -> Any:
        return later()

    with pytest.raises(UserError, match=r"'hidden' answered with something to await.*`async def`"):
        from_trl(hidden)([episode()], RNG)
    assert from_trl(functools.partial(lambda completions, by: [by], by=0.5))([episode()], RNG) == [
        Feedback(score=0.5)
    ]


def test_an_async_function_is_awaited_with_or_without_a_running_loop() -> None:
    async def slow(completions: list[Any], **columns: Any) -> list[float]:
        await asyncio.sleep(0)
        return [0.5 for _ in completions]

    user = from_trl(slow)
    assert user([episode(), episode()], RNG) == [Feedback(score=0.5)] * 2

    async def notebook() -> list[Feedback]:
        return user([episode()], RNG)

    assert asyncio.run(notebook()) == [Feedback(score=0.5)]

    async def failing(completions: list[Any]) -> list[float]:
        raise OSError("no network")

    with pytest.raises(UserError, match=r"'failing' failed .* 'May I\?': OSError\('no network'\)"):
        from_trl(failing)([episode()], RNG)


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ({"scale": 0.25}, [1.0, -0.5]),
        ({"clip": True}, [1.0, -1.0]),
        ({"scale": 0.5, "shift": 0.25, "clip": True}, [1.0, -0.75]),
        ({"scale": 1 / 3, "shift": -1 / 3}, [1.0, -1.0]),
    ],
)
def test_rewards_are_mapped_as_declared(options: dict[str, Any], scores: list[float]) -> None:
    answers = from_trl(Seen([4.0, -2.0]), **options)([episode(), episode()], RNG)
    assert [answer.score for answer in answers] == pytest.approx(scores)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([0.0, 1.5], r"makes a score of 1\.5, which is not in \[-1, 1\].*clip=True.*'Or else\?'"),
        ([0.0, float("nan")], r"nan is no finite number.*'Or else\?'"),
        ([0.0, "good"], r"could not convert.*'Or else\?'"),
        ([0.0], r"answered 1 rewards to 2 completions.*'May I\?'"),
    ],
)
def test_wrong_rewards_name_user_and_prompt(
    rewards: list[Any], message: str, llm: FrozenLLM
) -> None:
    user = make_user(from_trl(Seen(rewards)), llm)
    assert user.name == "Seen"
    with pytest.raises(UserError, match=f"(?s)'Seen' failed: .*{message}"):
        user([episode(), episode("Or else?")], RNG)


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": float("inf")}, {"shift": "x"}])
def test_useless_scales_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_trl(Seen([0.0]), **options)


class Keeps:
    """A user that keeps the episodes it is shown."""

    def __init__(self, answer: Callable[[Episode], Feedback]) -> None:
        self.answer = answer
        self.calls: list[list[Episode]] = []

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        self.calls.append(list(episodes))
        return [self.answer(episode) for episode in episodes]


def test_a_user_is_shown_text_and_columns() -> None:
    user = Keeps(lambda one: Feedback(score=one.prompt.risk) if one.reply else Feedback.silent())
    reward = to_trl(user)
    columns: dict[str, Any] = {"risk": [0.5, 0.25], "domain": ["food", None], "solution": [1, 2]}
    scores = reward(["A?", "B?"], ["a", ""], [[1, 2], [3]], trainer_state=object(), **columns)
    assert scores == [0.5, None]
    (shown,) = user.calls
    assert [one.prompt for one in shown] == [
        Prompt(text="A?", risk=0.5, domain="food"),
        Prompt(text="B?", risk=0.25),
    ]
    assert [one.reply for one in shown] == ["a", ""]
    assert [one.tokens.tolist() for one in shown] == [[1, 2], [3]]
    assert reward([], []) == []


def test_messages_become_turns() -> None:
    user = Keeps(lambda one: Feedback(score=0.0))
    prompt: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "May I?"}, {"type": "image"}]},
        {"role": "assistant", "content": "Why?"},
        {"role": "user", "content": "I like to."},
    ]
    completion: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "Then do."},
        {"role": "user", "content": "Thanks."},
    ]
    to_trl(user)([prompt], [completion])
    ((shown,),) = user.calls
    assert (shown.prompt.text, shown.said, shown.reply) == ("May I?", "I like to.", "\nThen do.")
    (turn,) = shown.turns
    assert (turn.said, turn.reply, turn.feedback.given) == ("May I?", "Why?", False)

    user.calls.clear()
    to_trl(user)([prompt], [[]])
    assert user.calls[0][0].reply == ""


def test_what_becomes_of_an_episode_comes_back() -> None:
    user, function = Keeps(lambda one: Feedback(score=0.0)), Seen([0.0])
    from_trl(function)([CONVERSATION], RNG)
    to_trl(user)(**function.arguments)
    ((shown,),) = user.calls
    assert (shown.prompt, shown.reply, shown.said) == (
        CONVERSATION.prompt,
        CONVERSATION.reply,
        CONVERSATION.said,
    )
    assert [(turn.said, turn.reply) for turn in shown.turns] == [("May I?", "Why?")]


def test_seeds_are_of_the_text_alone() -> None:
    user = Keeps(lambda one: Feedback(score=0.0))
    to_trl(user)(["A?", "A?", "A?"], ["a", "b", "a"])
    to_trl(user)(["A?"], ["a"])
    to_trl(user, seed=1)([[{"role": "user", "content": "A?"}]], ["a"])
    first, second, again = (one.seed for one in user.calls[0])
    assert first == again == user.calls[1][0].seed
    assert len({first, second, user.calls[2][0].seed}) == 3


@pytest.mark.parametrize(
    ("prompts", "completions", "columns", "message"),
    [
        (["A?"], [], {}, "1 prompts but 0 completions"),
        (["A?"], ["a"], {"risk": [3.0]}, r"risk must be in \[0, 1\], got 3\.0.*other names"),
        (["A?"], ["a"], {"risk": ["high"]}, "(?s)'A.'; columns named"),
        (["  "], ["a"], {}, "is empty"),
        ([[{"role": "system", "content": "x"}]], ["a"], {}, "does not begin with the user"),
    ],
)
def test_samples_that_cannot_be_shown_are_named(
    prompts: Any, completions: Any, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        to_trl(Keeps(lambda one: Feedback(score=0.0)))(prompts, completions, **columns)


def test_a_user_by_name_needs_a_model(llm: FrozenLLM) -> None:
    def brief(prompt: str, reply: str) -> float:
        return 0.5

    noisy = 0.5 * users.named("risk-averse") + 0.5 * Given(user=brief) | Noise(scale=0.1)
    for unmade in ("risk-averse", RiskAverseUser, noisy, Given(user="risk-averse")):
        with pytest.raises(UserError, match=r"(RiskAverseUser|risk-averse).*llm='smollm2-135m'"):
            to_trl(unmade)
    assert to_trl(0.5 * Given(user=brief) | Noise(scale=0.0))(["A?"], ["x"]) == [0.25]
    assert to_trl(noisy, llm)(["A?"], ["x"]) != to_trl(RiskAverseUser, llm)(["A?"], ["x"])
    metrics: dict[str, float] = {}
    reward = to_trl("risk-averse", llm)
    scores = reward(["A?", "B?"], ["x", "y"], risk=[1.0, 0.0], log_metric=metrics.__setitem__)
    asked = [
        Episode(prompt=Prompt(text=t, risk=r), reply=y)
        for t, r, y in zip(("A?", "B?"), (1.0, 0.0), "xy", strict=True)
    ]
    expected = RiskAverseUser.for_llm(llm)(asked, RNG)
    assert scores == [answer.score for answer in expected]
    assert reward.__name__ == "risk-averse"
    assert metrics["risk-averse/stance"] == pytest.approx(
        np.mean([answer.components["stance"] for answer in expected])
    )


def test_a_reward_function_of_trl_is_a_user(llm: FrozenLLM) -> None:
    rewards = pytest.importorskip("trl.rewards")
    thinks = make_user(from_trl(rewards.think_format_reward, scale=2.0, shift=-1.0), llm)
    good, bad = episode(reply="<think>\nHm.\n</think>\nYes."), episode(reply="<think>Hm. Yes.")
    assert [one.score for one in thinks([good, bad], RNG)] == [1.0, -1.0]
    assert thinks.name == "think_format_reward"
    # Of 4 trigrams 2 differ: half of the worst.
    repeats = from_trl(rewards.get_repetition_penalty_reward(ngram_size=3))
    assert repeats([episode(tokens=np.array([1, 2, 1, 2, 1, 2]))], RNG)[0].score == -0.5


@pytest.mark.parametrize("conversational", [False, True])
def test_trl_trains_with_a_user_and_logs_its_scores(tmp_path: Path, conversational: bool) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from erm_gym.llm.tiny import build_tiny_model, build_tiny_tokenizer

    def answer(one: Episode) -> Feedback:
        if one.prompt.risk == 1.0:
            return Feedback.silent()
        score = (sum(one.tokens.tolist()) % 100) / 100
        return Feedback(score=score, components={"half": score / 2, "rest": score / 2})

    user = Keeps(answer)
    tokenizer = build_tiny_tokenizer()
    tokenizer.pad_token = "<|unk|>"
    asked = [("May I?", 0.0), ("Why?", 1.0), ("How?", 0.5), ("When?", 0.0)]
    data = datasets.Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": text}] if conversational else text,
                "risk": risk,
            }
            for text, risk in asked
        ]
    )
    trainer = trl.GRPOTrainer(
        model=build_tiny_model(),
        processing_class=tokenizer,
        reward_funcs=to_trl(user),
        train_dataset=data,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_generations=2,
            max_completion_length=6,
            max_steps=2,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=0,
        ),
    )
    trainer.train()
    assert len(user.calls) == 2
    steps = [row for row in trainer.state.log_history if "reward" in row]
    for shown, logged in zip(user.calls, steps, strict=True):
        assert {(one.prompt.text, one.prompt.risk) for one in shown} == set(asked)
        scores = [answer(one).score for one in shown if one.prompt.risk < 1.0]
        assert len(set(scores)) > 1
        assert logged["rewards/Keeps/mean"] == pytest.approx(np.mean(scores), abs=1e-6)
        assert logged["reward"] == pytest.approx(np.mean(scores), abs=1e-6)
        assert logged["Keeps/half"] == pytest.approx(np.mean(scores) / 2, abs=1e-6)
