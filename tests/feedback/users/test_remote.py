"""The remote user, against real servers on this machine."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, Turn, UserError, make_user
from erm_gym.feedback.users import Cached, Given, network_user
from erm_gym.feedback.users.chat_judge import JudgeUser
from erm_gym.feedback.users.connection import LARGEST_ANSWER
from erm_gym.feedback.users.counts import counts_of
from erm_gym.feedback.users.remote import RemoteUser
from erm_gym.llm import FrozenLLM

Scripted = Callable[[Callable[[int, Any], Any]], Any]
pytestmark = pytest.mark.filterwarnings("ignore:.*has no feedback on:UserWarning")


def episodes(number: int) -> list[Episode]:
    return [
        Episode(prompt=Prompt(text=f"May I eat {i}?", risk=0.25), reply="x" * i, seed=i)
        for i in range(number)
    ]


def ask(user: Any, number: int = 3) -> list[Feedback]:
    answers: list[Feedback] = user(episodes(number), np.random.default_rng(0))
    return answers


def by_length(body: Any) -> dict[str, Any]:
    """What a well-behaved server answers: the length of each reply in tenths."""
    scores = [len(episode["reply"]) / 10 for episode in body["episodes"]]
    return {"version": 1, "feedbacks": [{"score": score} for score in scores]}


def remote(llm: FrozenLLM, url: str, **options: Any) -> RemoteUser:
    quick = {"timeout": 2.0, "retries": 2, "backoff": 0.01}
    return RemoteUser.for_llm(llm, url=url, **{**quick, **options})


def only(**counted: int) -> dict[str, int]:
    return {**dict.fromkeys(RemoteUser.COUNTED, 0), **counted}


def test_a_batch_goes_there_and_comes_back(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    server = scripted(lambda number, body: answer(body=by_length(body)))
    user = remote(llm, server.url)
    assert [feedback.score for feedback in ask(user)] == [0.0, 0.1, 0.2]
    assert user.counts() == only(requests=1)
    (asked,) = server.asked
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers
    assert asked.body["version"] == 1
    assert asked.body["episodes"][2] == {
        "prompt": {
            "text": "May I eat 2?",
            "risk": 0.25,
            "domain": "any",
            "prompt_id": "",
            "pair_id": "",
            "split": "train",
        },
        "reply": "xx",
        "tokens": [],
        "logprobs": [],
        "llm_fingerprint": "",
        "seed": 2,
        "turns": [],
        "last_turn": True,
    }


def test_everything_a_feedback_can_say_arrives(
    llm: FrozenLLM, scripted: Scripted, answer: Any
) -> None:
    full = Feedback(
        score=0.5,
        components={"a": 0.75, "b": -0.25},
        stance="hedge",
        says="Why?",
        leaves=True,
        verdict=-0.5,
    )
    silent = Feedback.silent(says="Hm.")
    lines = [
        {
            "score": 0.5,
            "components": {"a": 0.75, "b": -0.25},
            "stance": "hedge",
            "says": "Why?",
            "leaves": True,
            "verdict": -0.5,
        },
        {"score": 0, "given": False, "says": "Hm."},
    ]
    server = scripted(lambda number, body: answer(body={"version": 1, "feedbacks": lines}))
    assert ask(remote(llm, server.url), 2) == [full, silent]


def test_turns_are_sent(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    server = scripted(lambda number, body: answer(body=by_length(body)))
    feedback = Feedback(score=-0.5, components={"x": -0.5}, says="No, the other one.")
    turn = Turn(said="Which one?", reply="That one.", feedback=feedback)
    episode = Episode(
        prompt=Prompt(text="Which one?"),
        reply="This?",
        turns=(turn,),
        last_turn=False,
        tokens=np.array([5, 7]),
        logprobs=np.array([-0.5, -1.25], np.float32),
        llm_fingerprint="abc",
    )
    remote(llm, server.url)([episode], np.random.default_rng(0))
    sent = server.asked[0].body["episodes"][0]
    assert sent["turns"] == [
        {
            "said": "Which one?",
            "reply": "That one.",
            "feedback": {
                "score": -0.5,
                "components": {"x": -0.5},
                "stance": "",
                "says": "No, the other one.",
                "leaves": False,
                "verdict": None,
                "given": True,
            },
        }
    ]
    assert (sent["tokens"], sent["logprobs"], sent["last_turn"]) == ([5, 7], [-0.5, -1.25], False)


def test_large_batches_are_split(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    server = scripted(lambda number, body: answer(body=by_length(body)))
    user = remote(llm, server.url, batch_size=3)
    assert [feedback.score for feedback in ask(user, 8)] == [i / 10 for i in range(8)]
    assert [len(asked.body["episodes"]) for asked in server.asked] == [3, 3, 2]


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ({"status": 429, "headers": {"Retry-After": "0"}}, "http_errors"),
        ({"status": 500}, "http_errors"),
        ({"status": 503, "headers": {"Retry-After": "never"}}, "http_errors"),
        ({"delay": 5.0}, "timeouts"),
        ({"body": b"x" * 100, "drip": 0.1}, "timeouts"),  # every byte comes in time, the rest not
        ({"hang_up": True}, "unreachable"),
        ({"body": b"<html>Welcome to the hotel"}, "nonsense"),
        ({"body": b""}, "nonsense"),
        ({"body": b"[" * 100_000}, "nonsense"),
        ({"body": [1, 2, 3]}, "nonsense"),
        ({"body": {"version": 2, "feedbacks": [{"score": 0.0}] * 3}}, "nonsense"),
        ({"body": {"version": 1, "feedbacks": [{"score": 0.0}] * 2}}, "nonsense"),
        ({"body": {"version": 1, "feedbacks": []}}, "nonsense"),
        ({"body": {"version": 1, "feedbacks": "many"}}, "nonsense"),
        ({"body": b'{"a": "' + b"x" * LARGEST_ANSWER + b'"}'}, "nonsense"),
        ({"body": b"packed", "headers": {"Content-Encoding": "gzip"}}, "nonsense"),
    ],
)
def test_what_passes_is_tried_again(
    llm: FrozenLLM, scripted: Scripted, answer: Any, first: dict[str, Any], kind: str
) -> None:
    server = scripted(
        lambda number, body: answer(body=by_length(body)) if number else answer(**first)
    )
    user = remote(llm, server.url, timeout=0.4 if kind == "timeouts" else 5.0)
    began = time.monotonic()
    assert [feedback.score for feedback in ask(user)] == [0.0, 0.1, 0.2]
    assert time.monotonic() - began < 4.0
    assert user.counts() == only(requests=2, retries=1, **{kind: 1})


@pytest.mark.parametrize(
    "line",
    [
        {"score": 1.5},
        {"score": math.nan},
        {"score": math.inf},
        {"score": "0.5"},
        {"score": True},
        {"score": None},
        {},
        {"score": 0.5, "components": {"a": 0.1}},
        {"score": 0.5, "given": False},
        {"score": 0.5, "verdict": -2},
        {"score": 0.5, "leafs": True},
    ],
    ids=str,
)
def test_only_what_is_nonsense_is_asked_again_and_then_skipped(
    llm: FrozenLLM, scripted: Scripted, answer: Any, line: dict[str, Any]
) -> None:
    def script(number: int, body: Any) -> Any:
        said = by_length(body)
        said["feedbacks"] = [
            line if episode["seed"] == 1 else feedback
            for episode, feedback in zip(body["episodes"], said["feedbacks"], strict=True)
        ]
        return answer(body=said)

    server = scripted(script)
    user = remote(llm, server.url)
    first, second, third = ask(user)
    assert (first.score, third.score) == (0.0, 0.2)
    assert second == Feedback.silent()
    asked = [[episode["seed"] for episode in one.body["episodes"]] for one in server.asked]
    assert asked == [[0, 1, 2], [1], [1]]
    assert user.counts() == only(requests=3, retries=2, nonsense=3, skipped=1)


@pytest.mark.parametrize(
    ("status", "retried"), [(400, 0), (401, 0), (403, 0), (404, 0), (422, 0), (408, 2), (502, 2)]
)
def test_what_does_not_pass_is_not_tried_again(
    llm: FrozenLLM, scripted: Scripted, answer: Any, status: int, retried: int
) -> None:
    body = {"error": "the moon is full", "details": ["episodes.0.reply: too long"]}
    server = scripted(lambda number, _: answer(status=status, body=body))
    user = remote(llm, server.url)
    with pytest.warns(UserWarning, match=f"status {status} .the moon is full; episodes.0.reply"):
        assert ask(user) == [Feedback.silent()] * 3
    failed = 1 + retried
    assert user.counts() == only(requests=failed, retries=retried, http_errors=failed, skipped=3)


def test_a_warning_of_one_kind_comes_once(
    llm: FrozenLLM, scripted: Scripted, answer: Any, recwarn: pytest.WarningsRecorder
) -> None:
    server = scripted(lambda number, body: answer(status=404))
    user = remote(llm, server.url)
    for _ in range(2):
        ask(user)
    assert len([warning for warning in recwarn if "status 404" in str(warning.message)]) == 1
    assert user.counts()["skipped"] == 6


def test_stop_raises_and_names_user_and_prompt(
    llm: FrozenLLM, scripted: Scripted, answer: Any
) -> None:
    server = scripted(lambda number, body: answer(status=500, body={"error": "out of coffee"}))
    user = make_user(remote(llm, server.url + "?room=geheim", fallback="stop"), llm)
    with pytest.raises(UserError) as caught:
        ask(user)
    message = str(caught.value)
    for part in ("127.0.0.1", "'May I eat 0?'", "status 500 (out of coffee)", "fallback=skip"):
        assert part in message
    assert "geheim" not in message
    assert len(server.asked) == 3
    assert server.asked[0].path == "/?room=geheim"


def test_a_server_that_is_down_costs_little_time(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    user = remote(llm, f"http://127.0.0.1:{port}")
    for _ in range(3):
        assert ask(user) == [Feedback.silent()] * 3
    assert user.counts() == only(requests=9, retries=6, unreachable=9, skipped=9)
    for _ in range(100):
        ask(user)
    assert user.counts() == only(requests=9, retries=6, unreachable=9, skipped=309, paused=100)
    monkeypatch.setattr(network_user, "PAUSE", 0.0)
    user._paused_until = 0.0  # the pause is over: one attempt, without retries
    ask(user)
    assert user.counts()["requests"] == 10


def test_a_server_that_is_back_is_trusted_again(
    llm: FrozenLLM, scripted: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_user, "PAUSE", 0.05)
    down = True
    server = scripted(
        lambda number, body: answer(status=503) if down else answer(body=by_length(body))
    )
    user = remote(llm, server.url, retries=1)
    for _ in range(3):
        ask(user)
    down = False
    time.sleep(0.1)
    assert [feedback.score for feedback in ask(user)] == [0.0, 0.1, 0.2]
    down = True
    ask(user)
    assert user.counts()["retries"] == 3 + 1  # with retries again


@pytest.mark.parametrize(
    ("statuses", "asked"),
    [
        ([422] * 9, 9),
        ([503, 503, 422, 503, 503, 422, 503, 503, 422], 9),
        ([503, 503, 404, 503, 200, 200], 4),
        ([401] * 9, 9),
        ([429, 408, 425, 200], 3),
    ],
    ids=str,
)
def test_only_who_is_not_there_is_left_alone(
    llm: FrozenLLM, scripted: Scripted, answer: Any, statuses: list[int], asked: int
) -> None:
    """An error that says what is wrong with one request is an answer; three 503 in a row are not.

    A 401, 403 or 404 tells neither: it begins no pause, and does not prevent one.
    """
    server = scripted(lambda number, body: answer(status=statuses[number], body=by_length(body)))
    user = remote(llm, server.url, retries=0)
    for _ in statuses:
        ask(user)
    assert len(server.asked) == asked
    assert user.counts()["paused"] == len(statuses) - asked


def test_what_was_skipped_is_not_kept(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    server = scripted(
        lambda number, body: answer(status=200 if number else 404, body=by_length(body))
    )
    user = make_user(Given(user=remote(llm, server.url)) | Cached(), llm)
    assert ask(user) == [Feedback.silent()] * 3
    for _ in range(2):
        assert [feedback.score for feedback in ask(user)] == [0.0, 0.1, 0.2]
    assert len(server.asked) == 2


def test_stop_never_pauses(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    server = scripted(lambda number, body: answer(status=503))
    user = remote(llm, server.url, fallback="stop", retries=1)
    for _ in range(4):
        with pytest.raises(UserError):
            ask(user)
    assert user.counts() == only(requests=8, retries=4, http_errors=8)


def test_redirects_are_not_followed(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    elsewhere = scripted(lambda number, body: answer(body=by_length(body)))
    server = scripted(lambda number, body: answer(status=307, headers={"Location": elsewhere.url}))
    user = remote(llm, server.url)
    with pytest.warns(UserWarning, match=f"redirects to '{elsewhere.url}'.*give that address"):
        assert ask(user) == [Feedback.silent()] * 3
    assert elsewhere.asked == []
    assert user.counts() == only(requests=1, http_errors=1, skipped=3)


def test_the_key_is_sent_and_never_shown(
    llm: FrozenLLM, scripted: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", " s3cret\n")
    server = scripted(lambda number, _: answer(status=403, body={"error": "what is s3cret to me?"}))
    user = remote(llm, server.url, api_key_env="THE_KEY", fallback="stop")
    with pytest.raises(UserError, match=r"what is \*\*\* to me") as caught:
        ask(user)
    assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in f"{caught.value!r}{user.__dict__.get('name')}"
    monkeypatch.delenv("THE_KEY")
    with pytest.raises(UserError, match="'THE_KEY' holds no key"):
        remote(llm, server.url, api_key_env="THE_KEY")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://example.org"}, "must begin with https://"),
        ({"url": "nonsense"}, "must begin with https://"),
        ({"url": "https://"}, "must begin with https://"),
        ({"url": "https://me:secret@example.org"}, "api_key_env"),
        *(
            ({"url": f"https://example.org/?a=1&{name}=hush"}, f"'{name}'.*api_key_env")
            for name in ("key", "api_key", "apikey", "Api-Key", "apiKey", "token", "access_token")
        ),
        *(
            ({"url": f"https://example.org/?{name}=hush"}, f"'{name}'.*api_key_env")
            for name in ("client_secret", "sig", "X-Amz-Signature", "password", "accessToken")
        ),
        ({"timeout": 0.0}, "timeout must be above 0"),
        ({"timeout": math.nan}, "timeout must be above 0"),
        ({"retries": -1}, "retries must be between 0 and 100"),
        ({"backoff": -1.0}, "backoff must be between"),
        ({"batch_size": 0}, "batch_size must be between 1 and 1024"),
        ({"fallback": "ignore"}, "fallback must be 'skip' or 'stop', got 'ignore'"),
    ],
    ids=str,
)
def test_options_are_checked(llm: FrozenLLM, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        remote(llm, **{"url": "https://example.org", **options})
    assert "hush" not in str(caught.value) and ":secret" not in str(caught.value)


def test_only_other_machines_need_encryption(
    llm: FrozenLLM, recwarn: pytest.WarningsRecorder
) -> None:
    for url in (
        "https://example.org",
        "http://localhost:1",
        "http://127.1.2.3",
        "http://[::1]:80/x",
        "https://example.org/?keyboard=us&monkey=1&tokens=3&design=2",
    ):
        remote(llm, url)
    assert list(recwarn) == []
    with pytest.warns(UserWarning, match=r"example\.org is not encrypted; use https"):
        remote(llm, "http://example.org")


def test_a_key_is_never_sent_unencrypted(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("THE_KEY", "s3cret")
    message = r"the key would be sent to example\.org unencrypted.*use https"
    with pytest.raises(UserError, match=message):
        remote(llm, "http://example.org", api_key_env="THE_KEY")
    with pytest.raises(UserError, match=message):
        JudgeUser.for_llm(llm, model="m", base_url="http://example.org", api_key_env="THE_KEY")
    remote(llm, "http://localhost:1", api_key_env="THE_KEY")
    remote(llm, "https://example.org", api_key_env="THE_KEY")
    assert list(recwarn) == []


def test_an_interrupt_ends_the_wait_at_once(
    llm: FrozenLLM, scripted: Scripted, answer: Any
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
    server = scripted(
        lambda number, body: answer(body=by_length(body), delay=0.0 if number else 20.0)
    )
    user = remote(llm, server.url, timeout=30.0)

    def interrupt() -> None:
        while not server.asked:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(user)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 10.0
    assert [feedback.score for feedback in ask(user)] == [0.0, 0.1, 0.2]


def test_two_users_are_waited_for_together(llm: FrozenLLM, scripted: Scripted, answer: Any) -> None:
    both = threading.Barrier(2, timeout=20.0)

    def script(number: int, body: Any) -> Any:
        both.wait()  # neither answers before both are asked
        return answer(body=by_length(body))

    url = scripted(script).url
    name = f"erm_gym.feedback.users.remote:RemoteUser(url={url}, timeout=30)"
    user = make_user(f"0.5*{name} + 0.5*{name}", llm)
    assert [feedback.score for feedback in ask(user)] == pytest.approx([0.0, 0.1, 0.2])
    assert counts_of(user) == only(requests=2)


def test_counts_are_found_within_other_users(
    llm: FrozenLLM, scripted: Scripted, answer: Any
) -> None:
    server = scripted(lambda number, body: answer(body=by_length(body)))
    user = make_user(
        f"0.5*erm_gym.feedback.users.remote:RemoteUser(url={server.url}) + 0.5*risk-averse"
        " | noise(0.1)",
        llm,
    )
    ask(user)
    ask(user)
    assert counts_of(user) == only(requests=2)
    assert counts_of(make_user("risk-averse", llm)) == {}
    assert counts_of(lambda prompt, reply: 0.0) == {}


def test_the_answer_does_not_depend_on_numbers_of_numpy(
    llm: FrozenLLM, scripted: Scripted, answer: Any
) -> None:
    server = scripted(lambda number, body: answer(body=by_length(body)))
    episode = Episode(
        prompt=Prompt(text="Hm?", risk=np.float32(0.5)),  # type: ignore[arg-type]
        reply="Ja, naïve 🙂",
        seed=np.int64(3),  # type: ignore[arg-type]
    )
    remote(llm, server.url)([episode], np.random.default_rng(0))
    sent = server.asked[0].body["episodes"][0]
    assert (sent["seed"], sent["prompt"]["risk"], sent["reply"]) == (3, 0.5, "Ja, naïve 🙂")
    assert json.dumps(sent)
