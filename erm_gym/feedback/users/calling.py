"""Calling functions of other tools, and being called by them, outside of an environment."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, cast

from erm_gym.feedback.episode import UserError
from erm_gym.feedback.making import AnyUser, CheckedUser, make_user
from erm_gym.feedback.users.asking import is_awaited
from erm_gym.feedback.users.expression import Given, Named, Piped, Sum
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.llm.suggestion import suggest


class NamedFunction:
    """A function that is given those arguments, by name, that it takes.

    Attributes:
        name: What messages call it: its name, that of the inner one of a partial, or that of the
            class of an object that is called.
        is_async: Whether it is awaited.
    """

    def __init__(self, function: Callable[..., Any], offered: Iterable[str]) -> None:
        """Looks at what the function wants.

        Args:
            function: What to call; one with `**kwargs` is given everything.
            offered: Names of all arguments that there will be.

        Raises:
            UserError: If it is no function, or needs an argument that there will not be.
        """
        inner: Any = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        self.name: str = getattr(inner, "__name__", type(inner).__name__)
        self.is_async = is_awaited(inner)
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

    async def ask(self, arguments: Mapping[str, Any], where: str) -> Any:
        """What the function answers.

        Args:
            arguments: All that are offered.
            where: What it is asked about, for messages.

        Raises:
            UserError: If the function fails, or answers something to await although it is not
                `async`.
        """
        if not self._takes_all:
            arguments = {name: arguments[name] for name in self._takes if name in arguments}
        try:
            answer = self._function(**arguments)
            if self.is_async:
                return await answer
        except Exception as error:
            raise self._failure(error, where) from error
        if inspect.isawaitable(answer):
            if isinstance(answer, Coroutine):
                answer.close()
            raise UserError(
                f"{self.name!r} answered with something to await {where}; define it with "
                "`async def`"
            )
        return answer

    def _failure(self, error: Exception, where: str) -> UserError:
        return UserError(f"{self.name!r} failed {where}: {error!r}")


def checked_user(user: AnyUser, llm: FrozenLLM | str | None) -> CheckedUser:
    """A user whose answers are checked, for use without an environment.

    Args:
        user: What `make_user` takes.
        llm: The frozen LM that it reads replies with, or its name; one that is given by its name,
            by a class, or by an expression in which there is a name or a class needs it.

    Raises:
        UserError: If there is no such user, or the LM is missing.
    """
    if isinstance(llm, str):
        llm = load_llm(llm)
    if llm is None and _needs_llm(user):
        raise UserError(
            f"the user {Given(user=user).name!r} may need a language model to read replies with; "
            "give one, such as llm='smollm2-135m'"
        )
    return make_user(user, cast(FrozenLLM, llm))  # objects and functions do not look at it


def _needs_llm(user: AnyUser) -> bool:
    """Whether something in it is still to be made with a language model."""
    if isinstance(user, Given):
        return _needs_llm(user.user)
    if isinstance(user, Piped):
        return _needs_llm(user.inner)
    if isinstance(user, Sum):
        return any(_needs_llm(term) for _, term in user.terms_given)
    return isinstance(user, (str, Named)) or inspect.isclass(user)
