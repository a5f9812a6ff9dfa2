"""A server that lets others ask a user over HTTP: the reference for what `RemoteUser` talks to."""

from __future__ import annotations

import hmac
import json
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import numpy as np

from erm_gym import __version__
from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.making import CheckedUser
from erm_gym.feedback.users.connection import is_local
from erm_gym.feedback.users.wire import (
    VERSION,
    ErrorResponse,
    WireError,
    published_schema,
    read_request,
    write_response,
)

LARGEST_REQUEST = 16 * 2**20
"""Bytes of a request, at most."""
DISCARDED = 4 * LARGEST_REQUEST
"""Bytes of a request that are read, at most, after the answer that it is not wanted."""
LONGEST_SILENCE = 60.0
"""Seconds that a client may keep a connection open without a word."""
PATHS = {"/": "POST", "/health": "GET", "/schema": "GET"}


class UserServer(ThreadingHTTPServer):
    """Answers requests for feedback with what a user says.

    `POST /` takes a request and gives a response as in `GET /schema`; `GET /health` tells that the
    server is there, and whose feedback it gives. Requests are read side by side, and the user is
    asked about one after the other.

    A server without a key that only this machine sees answers only to names of this machine: a page
    in a browser can reach it by a name of its own that is made to point here, and so be taken by
    the browser for a page of this server.

    The generator that the user gets is seeded as the environment seeds it, from the seeds and turns
    of the batch, so that the feedback is that of the same user without a network.

    Attributes:
        user: Who is asked.
        address: Where requests are posted to.
        only_here: Whether it is seen by this machine alone.
    """

    daemon_threads = True  # a client that does not hang up does not keep the server from ending

    def __init__(
        self, user: CheckedUser, *, host: str = "127.0.0.1", port: int = 8000, key: str = ""
    ) -> None:
        """Opens the port; `serve_forever` answers.

        Args:
            user: Who is asked.
            host: Address of this machine to listen at; the default is not seen by other machines.
            port: Port; 0 takes a free one.
            key: If there is one, requests need it as a bearer token.

        Raises:
            UserError: If the address is in use or is none.

        Warns:
            UserWarning: If other machines can ask without a key.
        """
        self.user = user
        self.key = key
        # One thread for all: models are not made for several, nor are connections of the user's.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="erm-gym-user")
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot listen at {host}, port {port}: {reason}; choose another --port or --host"
            ) from error
        self.only_here = is_local(self.address)
        if not (key or self.only_here):
            warnings.warn(
                f"whoever reaches port {self.server_port} of this machine can ask the user, which "
                "may cost money, and read what it says: there is no key. Give one by --api-key-env "
                "(key=), or listen at 127.0.0.1",
                stacklevel=2,
            )

    @property
    def address(self) -> str:
        """Where requests are posted to."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"

    def ask(self, episodes: Sequence[Episode]) -> list[Feedback]:
        """The user's feedback on a batch."""
        seeds = [episode.seed for episode in episodes]
        rng = np.random.default_rng([*seeds, *(len(episode.turns) for episode in episodes)])
        return self._asking.submit(self.user, episodes, rng).result()

    def server_close(self) -> None:
        """Closes the port; who waits for an answer gets none."""
        super().server_close()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that hang up in the middle."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: UserServer
    protocol_version = "HTTP/1.1"
    server_version = f"erm-gym/{__version__}"
    sys_version = ""
    wbufsize = -1  # an answer goes out in one piece: in two, the second waits 40 ms for the first
    disable_nagle_algorithm = True
    timeout = LONGEST_SILENCE

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path == "/health":
            self._send_json({"status": "ok", "user": self.server.user.name, "version": VERSION})
        else:
            self._send_json(published_schema())

    def do_POST(self) -> None:
        if self._refused():
            self._discard_body()
            return
        body = self._body()
        if body is None:
            return
        try:
            episodes = read_request(body)
        except json.JSONDecodeError as error:
            self._send_error(HTTPStatus.BAD_REQUEST, f"the request is no JSON: {error.msg}")
            return
        except WireError as error:
            self._send_error(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the request does not fit the schema; GET /schema shows it",
                str(error).splitlines(),
            )
            return
        try:
            response = write_response(self.server.ask(episodes))
        except Exception as error:  # whatever a user does, the server goes on
            reason = str(error) if isinstance(error, UserError) else repr(error)
            self._send_error(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
            return
        self._send(HTTPStatus.OK, response)

    def _refused(self) -> bool:
        """Answers a request that goes to the wrong place or lacks the key."""
        if self.server.only_here and not self.server.key and not self._names_this_machine():
            self._send_error(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"without a key this server answers to names of this machine only, such as "
                f"localhost, and not to {self.headers.get('Host')!r}; serve with a key",
            )
        elif self.path not in PATHS:
            self._send_error(HTTPStatus.NOT_FOUND, "POST / gives feedback, GET /schema tells how")
        elif PATHS[self.path] != self.command:
            message = f"{self.path} takes {PATHS[self.path]}, not {self.command}"
            self._send_error(HTTPStatus.METHOD_NOT_ALLOWED, message)
        elif self.server.key and not hmac.compare_digest(
            self.headers.get("Authorization", "").encode(), f"Bearer {self.server.key}".encode()
        ):
            self._send_error(HTTPStatus.UNAUTHORIZED, "send the key of this server as bearer token")
        else:
            return False
        return True

    def _names_this_machine(self) -> bool:
        """Whether the name that the client knows the server by is one of this machine."""
        try:
            return is_local(f"http://{self.headers.get('Host', '')}")
        except httpx2.InvalidURL:
            return False

    def _body(self) -> bytes | None:
        """What was posted, or None after an answer that says why it cannot be read."""
        if self.headers.get_content_type() != "application/json":
            # Web pages may post other types to any server, this machine's included.
            self._send_error(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"
            )
            self._discard_body()
            return None
        length = self._length()
        if length is None:
            self._send_error(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
            return None
        if length > LARGEST_REQUEST:
            self._send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a request has at most {LARGEST_REQUEST:,} bytes; send fewer episodes at a time",
            )
            self._discard_body()
            return None
        body = self.rfile.read(length)
        if len(body) < length:  # the client hung up
            self.close_connection = True
            return None
        return body

    def _length(self) -> int | None:
        """Bytes of the body, as far as the client says."""
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None

    def _discard_body(self) -> None:
        """Reads what nobody wants: a client that is cut off while it sends misses the answer."""
        left = min(self._length() or 0, DISCARDED)
        while left > 0:
            part = self.rfile.read(min(left, 2**16))
            if not part:
                return
            left -= len(part)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no HTTP, or another method, as all other errors."""
        self._send_error(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _send_error(self, status: HTTPStatus, error: str, details: Sequence[str] = ()) -> None:
        if status != HTTPStatus.INTERNAL_SERVER_ERROR and not details:
            self.close_connection = True  # what follows may be a body that was not read
        message = ErrorResponse(error=error, details=list(details)[:20])
        self._send(status, message.model_dump_json().encode())

    def _send_json(self, values: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, json.dumps(values).encode())

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes no line for each request."""
