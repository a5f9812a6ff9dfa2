"""A user whose answers are checked, and users made from plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, User, UserError
from erm_gym.feedback.users.asking import Askable, is_awaited, together

RewardFunction = Callable[[str, str], float] | Callable[[str, str], Awaitable[float]]
"""A user as a plain function `(prompt, reply) -> score in [-1, 1]`, or as an `async` one."""


class _Told(UserError):
    """An error that names the user already."""


class CheckedUser(Askable):
    """A user whose answers are checked, so that a bug in one is named where it happens.

    A user whose `__call__` is a coroutine function is awaited.

    Attributes:
        name: What messages call it.
        user: The user itself.
    """

    def __init__(self, name: str, user: User) -> None:
        self.name = name
        self.user = user

    @property
    def is_async(self) -> bool:
        """Whether the user is awaited."""
        return self.user.is_async if isinstance(self.user, Askable) else is_awaited(self.user)

    @property
    def converses(self) -> bool:
        """Whether the user speaks for itself."""
        return bool(getattr(self.user, "converses", False))

    @property
    def draws(self) -> bool:
        """Whether the user says that it draws."""
        return bool(getattr(self.user, "draws", False))

    @property
    def settles(self) -> bool:
        """Whether the user keeps feedback back until the last turn."""
        return bool(getattr(self.user, "settles", False))

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """What of the user does nothing where an episode is a single reply."""
        return tuple(getattr(self.user, "needs_turns", ()))

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback of the user for a batch.

        Raises:
            UserError: If the user raises, answers a score out of range or NaN, or the wrong
                number of answers. It names the user and the prompt.
        """
        try:
            answers = list(await self._ask(episodes, rng))
        except _Told:
            raise
        except UserError as error:
            raise _Told(f"the user {self.name!r} failed: {error}") from error
        except Exception as error:
            where = await self._where(episodes, rng, error)
            raise _Told(f"the user {self.name!r} failed {where}: {error}") from error
        if len(answers) != len(episodes):
            raise _Told(
                f"the user {self.name!r} gave {len(answers)} answers to {len(episodes)} episodes, "
                f"of which the first has the prompt {episodes[0].prompt.text!r}; it must give one "
                "to each"
            )
        for episode, answer in zip(episodes, answers, strict=True):
            if not isinstance(answer, Feedback):
                raise _Told(
                    f"the user {self.name!r} answered {answer!r} to the prompt "
                    f"{episode.prompt.text!r}; expected a Feedback"
                )
        return answers

    async def _ask(
        self, episodes: Sequence[Episode], rng: np.random.Generator
    ) -> Sequence[Feedback]:
        if isinstance(self.user, Askable):
            return await self.user.answer(episodes, rng)
        answers: Any = self.user(episodes, rng)
        if is_awaited(self.user):
            return cast(Sequence[Feedback], await answers)
        if inspect.isawaitable(answers):
            if isinstance(answers, Coroutine):
                answers.close()
            raise UserError("it answered with something to await; define it with `async def`")
        return cast(Sequence[Feedback], answers)

    async def _where(
        self, episodes: Sequence[Episode], rng: np.random.Generator, error: Exception
    ) -> str:
        """Which episode a user fails at: a wrong value is looked for by asking one at a time."""
        if isinstance(error, (TypeError, ValueError)):
            for episode in episodes:
                try:
                    list(await self._ask([episode], rng))
                except Exception:
                    return f"at the prompt {episode.prompt.text!r}"
        return f"in a batch that starts with {episodes[0].prompt.text!r}"


class FunctionUser(Askable):
    """A user made from a function `(prompt, reply) -> score`.

    An `async` function is asked about all episodes at the same time.
    """

    def __init__(self, name: str, function: RewardFunction) -> None:
        self.name = name
        self.function = function

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited."""
        return is_awaited(self.function)

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks the function once per episode."""
        if self.is_async:
            return await together(self._ask(episode) for episode in episodes)
        return [await self._ask(episode) for episode in episodes]

    async def _ask(self, episode: Episode) -> Feedback:
        try:
            score: Any = self.function(episode.prompt.text, episode.reply)
            return Feedback(score=float(await score if self.is_async else score))
        except Exception as error:
            raise UserError(f"{error!r} for the prompt {episode.prompt.text!r}") from error


def as_user(name: str, user: object) -> CheckedUser:
    """A checked user from an object or a function.

    Args:
        name: What messages call it.
        user: A callable `(episodes, rng) -> list[Feedback]` or `(prompt, reply) -> float`; its
            first parameter's name says which.

    Raises:
        UserError: If it is neither.
    """
    if not callable(user):
        raise UserError(f"{name!r} is no user: it must be a function (prompt, reply) -> float")
    try:
        signature = inspect.signature(user)
    except ValueError as error:
        raise UserError(f"the user {name!r} tells no arguments; wrap it in a function") from error
    parameters = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(parameters) != 2:
        raise UserError(
            f"the user {name!r} takes {len(parameters)} arguments; write it as "
            "(prompt: str, reply: str) -> float or as (episodes, rng) -> list[Feedback]"
        )
    if parameters[0].name == "episodes":
        return CheckedUser(name, user)
    return CheckedUser(name, FunctionUser(name, user))
