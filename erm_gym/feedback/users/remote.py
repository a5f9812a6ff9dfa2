"""A user that is a program elsewhere: it is sent episodes as JSON, and answers with feedback."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2
import numpy as np
from pydantic import ValidationError

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.connection import (
    LoopBound,
    OversizedAnswer,
    checked_address,
    make_client,
    read_key,
    shown_address,
    without_key,
)
from erm_gym.feedback.users.network_user import NetworkUser, Patience, Trouble, status_trouble
from erm_gym.feedback.users.wire import (
    MOST_EPISODES,
    ErrorResponse,
    WireError,
    read_response,
    write_request,
)
from erm_gym.llm import FrozenLLM


class RemoteUser(NetworkUser):
    """A program at an https:// address, which is sent a batch of episodes and gives feedback.

    What goes over the wire is in `erm_gym/feedback/data/remote_user.schema.json`; hidden states are
    left out. Where only some answers of a batch are nonsense, only these are asked for again.

    Attributes:
        url: Where episodes are posted to.
        batch_size: Episodes of one request, at most.
    """

    def __init__(
        self, url: str, *, patience: Patience, batch_size: int = 64, api_key_env: str = ""
    ) -> None:
        """Prepares requests; none is made yet.

        Args:
            url: Where episodes are posted to; https, or http on this machine.
            patience: How long it is waited for.
            batch_size: Episodes of one request, at most.
            api_key_env: Environment variable with a key, which is sent as a bearer token.

        Raises:
            UserError: If an option cannot be used.
        """
        self.url = checked_address("the remote user", url, has_key=bool(api_key_env))
        name = f"the remote user at {shown_address(url)}"
        super().__init__(name, patience, read_key(name, api_key_env))
        if not 1 <= batch_size <= MOST_EPISODES:
            raise UserError(f"batch_size must be between 1 and {MOST_EPISODES}, got {batch_size}")
        self.batch_size = batch_size
        self._client = LoopBound(lambda: make_client(url, self._key, patience.timeout))

    @classmethod
    def for_llm(
        cls,
        llm: FrozenLLM,
        *,
        url: str,
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.5,
        batch_size: int = 64,
        fallback: str = "skip",
        api_key_env: str = "",
    ) -> RemoteUser:
        """The user at an address; it needs nothing of the LM.

        Args:
            llm: Not used.
            url: Where episodes are posted to; https, or http on this machine.
            timeout: Seconds that one attempt may take.
            retries: Attempts after the first one.
            backoff: Seconds before the first retry, twice as many before each further one.
            batch_size: Episodes of one request, at most.
            fallback: `skip`, episodes without an answer get no reward; or `stop`.
            api_key_env: Environment variable with a key, which is sent as a bearer token.

        Raises:
            UserError: If an option cannot be used.
        """
        patience = Patience(timeout=timeout, retries=retries, backoff=backoff, fallback=fallback)
        return cls(url, patience=patience, batch_size=batch_size, api_key_env=api_key_env)

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Posts the episodes; draws nothing from `rng`."""
        answers: list[Feedback] = []
        for start in range(0, len(episodes), self.batch_size):
            answers += await self._ask(episodes[start : start + self.batch_size])
        return answers

    async def _ask(self, batch: Sequence[Episode]) -> list[Feedback]:
        found: dict[int, Feedback] = {}

        async def attempt() -> None:
            missing = [index for index in range(len(batch)) if index not in found]
            body = await self._post([batch[index] for index in missing])
            try:
                answers = read_response(body, len(missing))
            except WireError as error:
                raise self._nonsense(error) from error
            wrong = []
            for index, answer in zip(missing, answers, strict=True):
                if isinstance(answer, Feedback):
                    found[index] = answer
                else:
                    wrong.append(answer)
            if wrong:
                raise self._nonsense(wrong[0])

        try:
            await self.persist(attempt)
        except Trouble as trouble:
            missing = [index for index in range(len(batch)) if index not in found]
            fallbacks = self.fall_back([batch[index] for index in missing], trouble)
            found.update(zip(missing, fallbacks, strict=True))
        return [found[index] for index in range(len(batch))]

    async def _post(self, episodes: Sequence[Episode]) -> bytes:
        self._count("requests")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            response = await self._client.get().post(
                self.url, content=write_request(episodes), headers=headers
            )
        except OversizedAnswer as error:
            raise self._nonsense(error) from error
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except httpx2.RequestError as error:
            reason = without_key(str(error) or type(error).__name__, self._key)
            message = f"it cannot be reached ({reason})"
            raise Trouble(message, kind="unreachable", again=True) from None
        if response.status_code != httpx2.codes.OK:
            said = response.headers.get("Location", "") or _error_of(response.content)
            raise status_trouble(
                response.status_code,
                without_key(said, self._key),
                response.headers.get("Retry-After"),
            )
        return response.content


def _error_of(body: bytes) -> str:
    """What a response with an error says, if it keeps to the format; otherwise nothing."""
    try:
        error = ErrorResponse.model_validate_json(body)
    except ValidationError:
        return ""
    return "; ".join([error.error, *error.details[:3]])
