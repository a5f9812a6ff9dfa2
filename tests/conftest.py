"""A real HTTP server on this machine that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server answers."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0  # seconds between the bytes of the body
    hang_up: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that the server got."""

    path: str
    headers: dict[str, str]
    body: Any


Script = Callable[[int, Any], Answer]


class ScriptedServer(ThreadingHTTPServer):
    """Answers the n-th request (from 0) with `script(n, body)`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.active = self.most_active = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that do not wait are part of the tests


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            number = len(server.asked)
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.asked.append(Asked(path=self.path, headers=headers, body=body))
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try:
            self.reply(server.script(number, body))
        finally:
            with server.lock:
                server.active -= 1

    do_GET = do_POST

    def reply(self, answer: Answer) -> None:
        self.server.closing.wait(answer.delay)
        if answer.hang_up:
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not answer.drip:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.closing.wait(answer.drip):
                return

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def answer() -> type[Answer]:
    """How an answer of a scripted server is made."""
    return Answer


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], ScriptedServer]]:
    """Starts servers, and ends them after the test."""
    servers: list[ScriptedServer] = []

    def start(script: Script) -> ScriptedServer:
        server = ScriptedServer(script)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()
