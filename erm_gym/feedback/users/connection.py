"""Connections to users elsewhere: addresses and keys that are safe to use, answers of limited size.

The client is httpx2, which the official client of chat endpoints and the model hub use as well.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import warnings
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import httpx2

from erm_gym.feedback.episode import UserError

Made = TypeVar("Made")

LARGEST_ANSWER = 4 * 2**20
"""Bytes of an answer that are read, at most."""
CREDENTIAL = re.compile(
    r"(^|[^a-z0-9])(api|access|auth)?(key|token|secret|sig|signature|password)$", re.IGNORECASE
)
"""What names of query parameters end with whose value is a secret, such as `key`, `api_key`,
`accessToken` and `X-Amz-Signature`."""


class OversizedAnswer(Exception):
    """An answer is larger than `LARGEST_ANSWER`, or packed so that its size cannot be told."""


class LoopBound(Generic[Made]):
    """Something that works in one event loop only, made anew where it is needed in another one."""

    def __init__(self, make: Callable[[], Made]) -> None:
        """Remembers how it is made; nothing is made yet."""
        self._make = make
        self._kept: tuple[weakref.ref[asyncio.AbstractEventLoop], Made] | None = None

    def get(self) -> Made:
        """The one that belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        if self._kept is None or self._kept[0]() is not loop:
            self._kept = weakref.ref(loop), self._make()
        return self._kept[1]


def checked_address(user: str, address: str, *, has_key: bool) -> str:
    """An address that requests may be sent to.

    Args:
        user: What messages call the user.
        address: Where it is; encrypted unless it is on this machine.
        has_key: Whether a key is sent there.

    Returns:
        The address as it was given.

    Raises:
        UserError: If it is no http(s) address, holds a password or a key, or a key would be sent to
            it unencrypted.
    """
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise UserError(f"{user}: {address!r} is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"{user}: {address!r} is no address; it must begin with https://")
    if url.userinfo:
        raise UserError(
            f"{user}: the address of {url.host} holds a name or a password, which would be written "
            "into the files of a run; name an environment variable by api_key_env instead"
        )
    for name in url.params:
        if CREDENTIAL.search(name):
            raise UserError(
                f"{user}: the address of {url.host} holds {name!r} in its query, which looks like "
                "a key and would be written into the files of a run; name an environment variable "
                "by api_key_env instead, which is sent as a bearer token"
            )
    if url.scheme == "http" and not is_local(address):
        if has_key:
            raise UserError(
                f"{user}: the key would be sent to {url.host} unencrypted, for all on the way to "
                "read; use https://"
            )
        warnings.warn(
            f"{user}: what is sent to {url.host} is not encrypted; use https://", stacklevel=3
        )
    return address


def is_local(address: str) -> bool:
    """Whether an address is on this machine."""
    host = httpx2.URL(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def shown_address(address: str) -> str:
    """An address without its query, which may hold a key, for messages."""
    return str(httpx2.URL(address).copy_with(query=None, fragment=None))


def read_key(user: str, variable: str) -> str:
    """A key from the environment; empty without a variable.

    Raises:
        UserError: If the variable is not set, or is no text that a header can hold.
    """
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"{user}: the environment variable {variable!r} holds no key; set it (api_key_env is "
            "the variable's name, never the key itself)"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"{user}: the key in the environment variable {variable!r} has characters that cannot "
            "be sent; copy it again"
        )
    return key


def without_key(text: str, key: str) -> str:
    """A text from elsewhere, such as an error message, with the key made unreadable."""
    return text.replace(key, "***") if key else text


def make_client(address: str, key: str, timeout: float) -> httpx2.AsyncClient:
    """A client for requests to one address.

    It follows no redirects, so that neither key nor episodes reach another host; it reads at most
    `LARGEST_ANSWER` bytes; and for this machine it uses no proxy.

    Args:
        address: Where requests go to.
        key: Sent as a bearer token, if there is one.
        timeout: Seconds that each part of a request may take.
    """
    headers = {"Accept-Encoding": "identity"}  # a small answer could unpack to a huge one
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx2.AsyncClient(
        headers=headers,
        timeout=timeout,
        follow_redirects=False,
        trust_env=not is_local(address),
        event_hooks={"response": [_limit]},
    )


async def _limit(response: httpx2.Response) -> None:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OversizedAnswer("the answer is compressed, which was not asked for")
    stream = response.stream
    assert isinstance(stream, httpx2.AsyncByteStream)
    response.stream = _LimitedStream(stream)


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > LARGEST_ANSWER:
                raise OversizedAnswer(f"the answer has more than {LARGEST_ANSWER:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
