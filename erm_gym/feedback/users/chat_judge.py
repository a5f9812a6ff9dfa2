"""A chat model as a user: it reads a rubric and the conversation, and gives a score."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import httpx2
import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.users.asking import together
from erm_gym.feedback.users.budget import Budget
from erm_gym.feedback.users.connection import (
    LoopBound,
    OversizedAnswer,
    checked_address,
    make_client,
    read_key,
    shown_address,
    without_key,
)
from erm_gym.feedback.users.judgement import (
    Judgement,
    JudgementCache,
    Message,
    judge_messages,
    read_judgement,
    read_rubric,
    remind,
)
from erm_gym.feedback.users.network_user import NetworkUser, Patience, Trouble, status_trouble
from erm_gym.llm import FrozenLLM
from erm_gym.llm.loading import cache_folder

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Omit
    from openai.types.chat import ChatCompletion

OPENAI = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
"""What endpoints without keys are sent: the client insists on one."""


class JudgeUser(NetworkUser):
    """A chat model behind an OpenAI-compatible endpoint, which scores replies by a rubric.

    It is asked for `{"score": -1..1, "reason": "..."}` at temperature 0, once for each different
    question: answers are kept on disk. Answers of another form are asked for again, with a word on
    the form.

    Attributes:
        model: Name of the model at the endpoint.
        base_url: The endpoint.
        rubric: Text of the rubric.
        budget: What asking may cost.
    """

    COUNTED: ClassVar[tuple[str, ...]] = (
        *NetworkUser.COUNTED,
        "cache_hits",
        "over_budget",
        "input_tokens",
        "output_tokens",
    )
    """Besides those of every network user: questions answered from disk, questions not asked
    because a cap was reached, and tokens."""

    def __init__(
        self,
        model: str,
        *,
        patience: Patience,
        budget: Budget,
        base_url: str = OPENAI,
        api_key_env: str = "",
        rubric: str = "",
        concurrency: int = 8,
        answer_tokens: int = 256,
        json_mode: bool = True,
        cache: Path | None = None,
    ) -> None:
        """Prepares the judge; nothing is asked yet. See `for_llm`.

        Args:
            model: Name of the model at the endpoint.
            patience: How long it is waited for.
            budget: What asking may cost.
            base_url: The endpoint.
            api_key_env: Environment variable with the key.
            rubric: Text of the rubric.
            concurrency: Requests at the same time.
            answer_tokens: Tokens of an answer, at most.
            json_mode: Whether the endpoint is told to answer with JSON.
            cache: Folder in which answers are kept; None keeps none.

        Raises:
            UserError: If an option cannot be used.
        """
        if not model.strip():
            raise UserError("the judge needs a model: give its name at the endpoint")
        if concurrency < 1 or answer_tokens < 1:
            raise UserError(
                "concurrency and answer_tokens must be at least 1, got "
                f"{concurrency} and {answer_tokens}"
            )
        self.base_url = checked_address("the judge", base_url, has_key=bool(api_key_env))
        if not api_key_env and is_openai(base_url):
            api_key_env = OPENAI_KEY  # and to nobody else
        name = f"the judge {model!r} at {shown_address(base_url)}"
        super().__init__(name, patience, read_key(name, api_key_env))
        self.model = model
        self.rubric = rubric or read_rubric("")
        self.budget = budget
        self._answer_tokens = answer_tokens
        self._json_mode = json_mode
        self._cache = JudgementCache(cache) if cache is not None else None
        self._client = LoopBound(self._make_client)
        self._turn = LoopBound(lambda: asyncio.Semaphore(concurrency))

    @classmethod
    def for_llm(
        cls,
        llm: FrozenLLM,
        *,
        model: str,
        base_url: str = OPENAI,
        api_key_env: str = "",
        rubric: str = "",
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.5,
        fallback: str = "skip",
        max_requests: int = 0,
        max_tokens: int = 0,
        max_cost: float = 0.0,
        input_price: float = 0.0,
        output_price: float = 0.0,
        concurrency: int = 8,
        answer_tokens: int = 256,
        json_mode: bool = True,
        cache: bool = True,
    ) -> JudgeUser:
        """The judge; it needs nothing of the LM.

        Args:
            llm: Not used.
            model: Name of the model at the endpoint.
            base_url: The endpoint, up to and without `/chat/completions`.
            api_key_env: Name of the environment variable with the key; by default OPENAI_API_KEY
                for OpenAI's own endpoint, and no key for others.
            rubric: File with the rubric, plain text or Markdown; by default the package's own.
            timeout: Seconds that one attempt may take.
            retries: Attempts after the first one.
            backoff: Seconds before the first retry, twice as many before each further one.
            fallback: `skip`, episodes without an answer get no reward; or `stop`.
            max_requests: Requests of this user, at most; 0 for any number. This and the other caps
                count from when the user is made: each run, each evaluation, and each resumed run
                begins at 0.
            max_tokens: Tokens sent and received, at which no further request begins.
            max_cost: Money at which no further request begins.
            input_price: Price of a million tokens sent.
            output_price: Price of a million tokens received.
            concurrency: Requests at the same time.
            answer_tokens: Tokens of an answer, at most.
            json_mode: Whether the endpoint is told to answer with JSON; turn it off if it does not
                know `response_format`.
            cache: Whether answers are kept in the package's cache folder, and taken from there.

        Raises:
            UserError: If an option cannot be used.
        """
        return cls(
            model,
            patience=Patience(timeout=timeout, retries=retries, backoff=backoff, fallback=fallback),
            budget=Budget(
                max_requests=max_requests,
                max_tokens=max_tokens,
                max_cost=max_cost,
                input_price=input_price,
                output_price=output_price,
            ),
            base_url=base_url,
            api_key_env=api_key_env,
            rubric=read_rubric(rubric),
            concurrency=concurrency,
            answer_tokens=answer_tokens,
            json_mode=json_mode,
            cache=cache_folder() / "judge" if cache else None,
        )

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks about all episodes at the same time; draws nothing from `rng`."""
        questions = [judge_messages(self.rubric, episode) for episode in episodes]
        keys = [str(question) for question in questions]
        alike: dict[str, list[int]] = {}  # the same is asked once
        for index, key in enumerate(keys):
            alike.setdefault(key, []).append(index)
        answers = await together(
            self._judge(questions[rows[0]], [episodes[row] for row in rows])
            for rows in alike.values()
        )
        by_row = {
            row: feedback
            for rows, feedbacks in zip(alike.values(), answers, strict=True)
            for row, feedback in zip(rows, feedbacks, strict=True)
        }
        return [by_row[row] for row in range(len(episodes))]

    async def _judge(self, question: list[Message], alike: list[Episode]) -> list[Feedback]:
        """Feedback on episodes that raise the same question."""
        try:
            score = (await self._judgement(question)).score
        except Trouble as trouble:
            return self.fall_back(alike, trouble)
        return [Feedback(score=score, components={"judge": score}) for _ in alike]

    async def _judgement(self, question: list[Message]) -> Judgement:
        """The answer to a question, from disk or from the endpoint."""
        path = None
        if self._cache is not None:
            path = self._cache.path({"endpoint": self.base_url, **self._request(question)})
            kept = self._cache.get(path)
            if kept is not None:
                self._count("cache_hits")
                return kept
        asked = question

        async def attempt() -> Judgement:
            nonlocal asked
            try:
                return await self._ask(asked)
            except Trouble as trouble:
                if trouble.kind == "nonsense":
                    asked = remind(question)
                raise

        _ = self._client.get().chat.completions  # loads the client, which is not the model's time
        async with self._turn.get():
            judgement = await self.persist(attempt)
        if self._cache is not None and path is not None:
            self._cache.put(path, judgement)
        return judgement

    async def _ask(self, messages: list[Message]) -> Judgement:
        from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

        spent = (self._counts[name] for name in ("requests", "input_tokens", "output_tokens"))
        reached = self.budget.exceeded(*spent)
        if reached:
            raise Trouble(reached, kind="over_budget")
        self._count("requests")
        try:
            completion = await self._client.get().chat.completions.create(
                **self._request(messages), extra_headers=self._without_account()
            )
        except APITimeoutError:
            raise TimeoutError from None
        except APIStatusError as error:
            response = error.response
            said = response.headers.get("Location", "") or without_key(error.message, self._key)
            raise status_trouble(
                response.status_code, said, response.headers.get("Retry-After")
            ) from None
        except APIConnectionError as error:
            if isinstance(error.__cause__, OversizedAnswer):
                raise self._nonsense(error.__cause__) from None
            reason = without_key(str(error.__cause__ or error), self._key)
            message = f"it cannot be reached ({reason})"
            raise Trouble(message, kind="unreachable", again=True) from None
        except (APIError, OversizedAnswer, ValueError, RecursionError) as error:  # no JSON
            raise self._nonsense(error) from None
        return self._read(messages, completion)

    def _read(self, messages: list[Message], completion: ChatCompletion) -> Judgement:
        """The judgement in an answer, whose tokens are counted."""
        try:
            content: object = completion.choices[0].message.content
        except (AttributeError, IndexError, TypeError):  # the client checks nothing
            content = None
        text = content if isinstance(content, str) else ""
        self._count_tokens(messages, text, getattr(completion, "usage", None))
        if not text:
            raise self._nonsense("no message in the answer")
        try:
            return read_judgement(text)
        except ValueError as error:
            raise self._nonsense(error) from error

    def _count_tokens(self, messages: list[Message], text: str, usage: object) -> None:
        """Adds the tokens that the endpoint reports, or the bytes where it reports none."""
        sent = sum(len(message["content"].encode()) for message in messages)
        for name, attribute, size in (
            ("input_tokens", "prompt_tokens", sent),
            ("output_tokens", "completion_tokens", len(text.encode())),
        ):
            tokens = getattr(usage, attribute, None)
            self._count(name, tokens if is_count(tokens) else size)

    def _request(self, messages: list[Message]) -> dict[str, Any]:
        """What is sent, and what an answer depends on."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0.0,
            "max_tokens": self._answer_tokens,
        }
        if self._json_mode:
            request["response_format"] = {"type": "json_object"}
        return request

    def _without_account(self) -> dict[str, Omit]:
        """Headers that are left out: which account somebody has at OpenAI concerns nobody else.

        The client reads them from the environment and would send them to any endpoint.
        """
        from openai import Omit

        if is_openai(self.base_url):
            return {}
        return {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}

    def _make_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        timeout = self.patience.timeout
        return AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=self.base_url,
            timeout=timeout,
            max_retries=0,  # retries are counted here
            http_client=make_client(self.base_url, "", timeout),  # it adds the key itself
        )


def is_openai(address: str) -> bool:
    """Whether an address is one of OpenAI's own endpoints, regional ones included."""
    url = httpx2.URL(address)
    own = url.host == OPENAI_HOST or url.host.endswith(f".{OPENAI_HOST}")
    return own and url.scheme == "https"


def is_count(value: object) -> TypeGuard[int]:
    """Whether what an endpoint says of a number of tokens is one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
