"""The reference server, by itself and with the remote user as its client."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from erm_gym.envs.text import ConversationVectorEnv
from erm_gym.feedback import (
    CheckedUser,
    Episode,
    Feedback,
    Prompt,
    UserError,
    make_conversing_user,
    make_user,
)
from erm_gym.feedback.users.remote import RemoteUser
from erm_gym.feedback.users.server import LARGEST_REQUEST, UserServer
from erm_gym.feedback.users.wire import published_schema, write_request
from erm_gym.llm import FrozenLLM

EPISODES = [
    Episode(prompt=Prompt(text=f"May I eat {i}?", risk=i / 4), reply="Yes, " * i + "no", seed=i)
    for i in range(5)
]
JSON = {"Content-Type": "application/json"}


@contextmanager
def serving(user: CheckedUser, key: str = "") -> Iterator[UserServer]:
    with UserServer(user, port=0, key=key) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def drawing(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
    """Scores from the batch's generator and from the episode's."""
    return [
        Feedback(
            score=rng.uniform(-0.5, 0.5)
            + np.random.default_rng([episode.seed, len(episode.turns)]).uniform(-0.5, 0.5)
        )
        for episode in episodes
    ]


def environment_rng(episodes: Sequence[Episode]) -> np.random.Generator:
    """The generator as the environment seeds it."""
    seeds = [episode.seed for episode in episodes]
    return np.random.default_rng([*seeds, *(len(episode.turns) for episode in episodes)])


def exchange(
    server: UserServer, method: str, path: str, body: bytes = b"", headers: Any = JSON
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture
def server(llm: FrozenLLM) -> Iterator[UserServer]:
    with serving(make_user(lambda prompt, reply: len(reply) / 100, llm)) as server:
        yield server


@pytest.mark.parametrize("user", ["risk-averse", drawing], ids=["named", "drawing"])
def test_a_user_says_the_same_over_the_network(llm: FrozenLLM, user: Any) -> None:
    local = make_user(user, llm)
    expected = local(EPISODES, environment_rng(EPISODES))
    with serving(local) as server:
        remote = make_user(RemoteUser.for_llm(llm, url=server.address, retries=0), llm)
        assert remote(EPISODES, np.random.default_rng(9)) == expected
    assert len({feedback.score for feedback in expected}) > 1


@pytest.mark.parametrize("user", ["risk-averse", drawing], ids=["named", "drawing"])
def test_conversations_are_the_same_over_the_network(llm: FrozenLLM, user: Any) -> None:
    def converse(user: Any) -> list[Any]:
        envs = ConversationVectorEnv.from_keywords(
            3, {"llm": "tiny", "critic": None, "user": user, "max_new_tokens": 4, "max_turns": 3}
        )
        envs.reset(seed=5)
        assert isinstance(envs.action_space, MultiDiscrete)
        rng = np.random.default_rng(0)
        found = []
        for _ in range(40):
            actions = rng.integers(envs.action_space.nvec)
            _, rewards, terminated, truncated, infos = envs.step(actions)
            said = [
                feedback
                for one in (infos, infos.get("final_info", {}))
                for feedback in one.get("user_feedback", [])
                if feedback is not None
            ]
            found.append((rewards.tolist(), terminated.tolist(), truncated.tolist(), said))
        envs.close()
        return found

    local = make_user(user, llm)

    def from_text(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return local([replace(episode, hidden=None) for episode in episodes], rng)

    here = converse(from_text)  # hidden states are not sent
    with serving(local) as server:
        assert converse(RemoteUser.for_llm(llm, url=server.address, retries=0)) == here
    with serving(make_conversing_user(user, llm)) as server:  # it says what it has to say itself
        assert converse(RemoteUser.for_llm(llm, url=server.address, retries=0)) == here
    feedbacks = [feedback for step in here for feedback in step[3]]
    assert len({feedback.says for feedback in feedbacks}) > 3
    assert any(feedback.verdict is not None for feedback in feedbacks)


def test_health_and_schema(server: UserServer) -> None:
    status, health = exchange(server, "GET", "/health")
    assert (status, health) == (200, {"status": "ok", "user": "<lambda>", "version": 1})
    assert exchange(server, "GET", "/schema") == (200, published_schema())


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (("POST", "/", b"{", JSON), 400, "is no JSON"),
        (("POST", "/", b"", JSON), 400, "is no JSON"),
        (("POST", "/", b'{"version": 1}', JSON), 422, "does not fit the schema"),
        (("POST", "/", b'{"version": 3, "episodes": []}', JSON), 422, "does not fit the schema"),
        (("POST", "/", b"{}", {"Content-Type": "text/plain"}), 415, "must be application/json"),
        (("POST", "/", b"{}", {}), 415, "must be application/json"),
        (("POST", "/", b"", {**JSON, "Content-Length": "x"}), 411, "Content-Length is missing"),
        (("POST", "/", b"", {**JSON, "Content-Length": "-5"}), 411, "Content-Length is missing"),
        (("POST", "/ask", b"{}", JSON), 404, "POST / gives feedback"),
        (("GET", "/", b"", {}), 405, "/ takes POST, not GET"),
        (("POST", "/health", b"{}", JSON), 405, "takes GET, not POST"),
        (("DELETE", "/", b"", {}), 501, "Unsupported method"),
    ],
)
def test_wrong_requests_are_told_why(
    server: UserServer, sent: tuple[str, str, bytes, Any], status: int, error: str
) -> None:
    found, said = exchange(server, *sent)
    assert found == status
    assert error in said["error"]
    assert set(said) == {"error", "details"}
    if status == 422:
        assert any("version" in line or "episodes" in line for line in said["details"])


def test_a_request_that_is_too_large_is_told_so(server: UserServer) -> None:
    status, said = exchange(server, "POST", "/", b" " * (LARGEST_REQUEST + 1))
    assert (status, said["error"].split(";")[0]) == (413, "a request has at most 16,777,216 bytes")
    assert exchange(server, "GET", "/health")[0] == 200


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"\r\n", b""])
def test_what_is_no_http_does_not_end_it(server: UserServer, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(garbage)
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        )
    assert exchange(server, "GET", "/health")[0] == 200


@pytest.mark.parametrize("failure", [ValueError("too many cooks"), UserError("no more soup")])
def test_a_user_that_fails_does_not_end_it(llm: FrozenLLM, failure: Exception) -> None:
    def fails(prompt: str, reply: str) -> float:
        if "1" in prompt:
            raise failure
        return 0.5

    with serving(make_user(fails, llm)) as server:
        remote = RemoteUser.for_llm(llm, url=server.address, retries=1, backoff=0.0)
        with pytest.warns(UserWarning, match=f"status 500 .*{failure}"):
            assert remote(EPISODES[:2], np.random.default_rng(0)) == [Feedback.silent()] * 2
        assert remote(EPISODES[2:3], np.random.default_rng(0)) == [Feedback(score=0.5)]
        assert remote.counts()["http_errors"] == 2


def test_a_key_is_asked_for(llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "s3cret")
    monkeypatch.setenv("WRONG_KEY", "guess")
    body = write_request(EPISODES)
    with serving(make_user(lambda prompt, reply: 0.5, llm), key="s3cret") as server:
        assert exchange(server, "POST", "/", body)[0] == 401
        assert exchange(server, "GET", "/health", headers={})[0] == 401
        for variable, given in (("THE_KEY", True), ("WRONG_KEY", False)):
            user = RemoteUser.for_llm(llm, url=server.address, api_key_env=variable)
            expectation: Any = pytest.warns(UserWarning, match="status 401")
            if given:
                answers = user(EPISODES, np.random.default_rng(0))
            else:
                with expectation:
                    answers = user(EPISODES, np.random.default_rng(0))
            assert [feedback.given for feedback in answers] == [given] * 5


LOCAL_NAMES = ["localhost", "localhost:1", "LOCALHOST", "127.0.0.1", "127.9.9.9:80", "[::1]:80"]
OTHER_NAMES = ["evil.example.org", "192.168.1.7", "localhost.example.org", "", "a b", "[::1", "0"]


@pytest.mark.parametrize("key", ["", "s3cret"])
@pytest.mark.parametrize("name", [*LOCAL_NAMES, *OTHER_NAMES])
def test_a_page_cannot_pose_as_this_machine(llm: FrozenLLM, name: str, key: str) -> None:
    """By DNS rebinding a page asks under its own name; with a key it could not know that."""
    headers = {**JSON, "Host": name, "Authorization": f"Bearer {key}"}
    with serving(make_user(lambda prompt, reply: 0.5, llm), key=key) as server:
        for method, path, body in (("POST", "/", write_request(EPISODES)), ("GET", "/health", b"")):
            status, said = exchange(server, method, path, body, headers)
            assert status == (200 if key or name in LOCAL_NAMES else 421)
            if status == 421:
                assert "without a key" in said["error"] and "localhost" in said["error"]


def test_a_server_that_all_may_ask_warns(llm: FrozenLLM, recwarn: pytest.WarningsRecorder) -> None:
    user = make_user(lambda prompt, reply: 0.5, llm)
    for host, key in (("127.0.0.1", ""), ("localhost", ""), ("0.0.0.0", "s3cret")):
        UserServer(user, host=host, port=0, key=key).server_close()
    assert list(recwarn) == []
    with pytest.warns(UserWarning, match="there is no key. Give one by --api-key-env"):
        server = UserServer(user, host="0.0.0.0", port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    assert exchange(server, "GET", "/health", headers={"Host": "users.example.org"})[0] == 200
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_user_is_asked_by_one_client_at_a_time(llm: FrozenLLM) -> None:
    inside = threading.Semaphore(1)
    clashes: list[int] = []

    def slow(prompt: str, reply: str) -> float:
        if not inside.acquire(blocking=False):
            clashes.append(1)
            return 0.0
        time.sleep(0.02)
        inside.release()
        return len(reply) / 100

    answers: list[tuple[int, Any]] = []
    with serving(make_user(slow, llm)) as server:
        clients = [
            threading.Thread(
                target=lambda: answers.append(
                    exchange(server, "POST", "/", write_request(EPISODES))
                )
            )
            for _ in range(8)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert clashes == []
    scores = [len(episode.reply) / 100 for episode in EPISODES]
    assert len(answers) == 8
    for status, said in answers:
        assert status == 200
        assert [feedback["score"] for feedback in said["feedbacks"]] == scores


def test_a_port_in_use_is_named(server: UserServer) -> None:
    with pytest.raises(UserError, match=r"port \d+: .*in use; choose another --port"):
        UserServer(server.user, port=server.server_port)
    for host, port in (("127.0.0.1", 70_000), ("not a host", 0)):
        with pytest.raises(UserError, match="choose another --port or --host"):
            UserServer(server.user, host=host, port=port)


def test_an_awaited_user_can_be_served(
    llm: FrozenLLM, scripted: Callable[..., Any], answer: Any
) -> None:
    behind = scripted(
        lambda number, body: answer(body={"version": 1, "feedbacks": [{"score": 0.25}] * 5})
    )
    proxy = make_user(RemoteUser.for_llm(llm, url=behind.url), llm)
    with serving(proxy) as server:
        user = RemoteUser.for_llm(llm, url=server.address)
        for _ in range(3):
            scores = [feedback.score for feedback in user(EPISODES, np.random.default_rng(0))]
            assert scores == [0.25] * 5
    assert len(behind.asked) == 3
