"""Calling functions of other tools, and being called by them, outside of an environment."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from erm_gym.feedback.episode import User, UserError
from erm_gym.feedback.making import CheckedUser, RewardFunction, make_user
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.llm.suggestion import suggest

AnyUser = str | User | RewardFunction
"""What `make_user` takes."""


def callable_name(function: object) -> str:
    """What messages call a function, the inner one of a partial, or an object that is called."""
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return name


class NamedFunction:
    """A function that is given those arguments, by name, that it takes.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, function: Callable[..., Any], offered: Iterable[str]) -> None:
        """Looks at what the function wants.

        Args:
            function: What to call; one with `**kwargs` is given everything.
            offered: Names of all arguments that there will be.

        Raises:
            UserError: If it is no function, or needs an argument that there will not be.
        """
        self.name = callable_name(function)
        self._function = function
        known = sorted(offered)
        if not callable(function):
            raise UserError(f"{function!r} is no function; give one, or an object with __call__")
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError as error:
            raise UserError(f"{self.name!r} tells no arguments; wrap it in a function") from error
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL or parameter.default is not (
                parameter.empty
            ):
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise UserError(
                    f"{self.name!r} takes {parameter.name!r} by position; arguments are given by "
                    "name, so remove the `/`"
                )
            if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in known:
                raise UserError(
                    f"{self.name!r} wants an argument {parameter.name!r}, which there is not; "
                    f"{suggest(parameter.name, known)}"
                )
        self._takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self._takes = {one.name for one in parameters}

    def __call__(self, arguments: Mapping[str, Any], where: str) -> Any:
        """What the function answers; of an async one something to await.

        Args:
            arguments: All that are offered.
            where: What it is asked about, for messages.

        Raises:
            UserError: If the function fails.
        """
        if not self._takes_all:
            arguments = {name: arguments[name] for name in self._takes if name in arguments}
        try:
            answer = self._function(**arguments)
        except Exception as error:
            raise self._failure(error, where) from error
        return self._awaited(answer, where) if inspect.isawaitable(answer) else answer

    async def _awaited(self, answer: Awaitable[Any], where: str) -> Any:
        try:
            return await answer
        except Exception as error:
            raise self._failure(error, where) from error

    def _failure(self, error: Exception, where: str) -> UserError:
        return UserError(f"{self.name!r} failed {where}: {error!r}")


def wait_for_all(answers: Iterable[Any]) -> list[Any]:
    """Answers as values: those that must be awaited are awaited together.

    Works in a program with a running event loop, too, such as a notebook.
    """
    values = list(answers)
    pending = [index for index, value in enumerate(values) if inspect.isawaitable(value)]
    if not pending:
        return values
    gathered = _gather([values[index] for index in pending])
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        results = asyncio.run(gathered)
    else:
        with ThreadPoolExecutor(1) as thread:
            results = thread.submit(asyncio.run, gathered).result()
    for index, result in zip(pending, results, strict=True):
        values[index] = result
    return values


def checked_user(user: AnyUser, llm: FrozenLLM | str | None) -> CheckedUser:
    """A user whose answers are checked, for use without an environment.

    Args:
        user: What `make_user` takes.
        llm: The frozen LM that it reads replies with, or its name; only a user that is given by
            name needs it.

    Raises:
        UserError: If there is no such user, or it is given by name and the LM is missing.
    """
    if isinstance(llm, str):
        llm = load_llm(llm)
    if llm is None and isinstance(user, str):
        raise UserError(
            f"the user {user!r} may need a language model to read replies with; give one, such as "
            "llm='smollm2-135m'"
        )
    return make_user(user, cast(FrozenLLM, llm))  # objects and functions do not look at it


async def _gather(awaitables: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*awaitables)
