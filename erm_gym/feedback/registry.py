"""Users by name, as functions, as objects; whatever they answer is checked."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, User, UserError
from erm_gym.feedback.risk_averse import RiskAverseUser
from erm_gym.llm import FrozenLLM
from erm_gym.llm.suggestion import suggest

RewardFunction = Callable[[str, str], float]
"""A user as a plain function `(prompt, reply) -> score in [-1, 1]`."""

_BUILDERS: dict[str, Callable[[FrozenLLM], User]] = {
    "risk-averse": RiskAverseUser.for_llm,
}


def user_names() -> list[str]:
    """Names that `make_user` knows."""
    return sorted(_BUILDERS)


def make_user(user: str | User | RewardFunction, llm: FrozenLLM) -> CheckedUser:
    """A user from whatever names or is one.

    Args:
        user: A name from `user_names`, `package.module:attribute`, an object that follows `User`,
            or a function `(prompt, reply) -> float`.
        llm: The frozen LM that built-in users read replies with.

    Returns:
        The user, with every answer checked.

    Raises:
        UserError: If the name is unknown or the object is no user.
    """
    if isinstance(user, CheckedUser):
        return user
    if isinstance(user, str) and ":" in user:
        return _as_user(user, _import(user))
    if isinstance(user, str):
        if user not in _BUILDERS:
            hint = suggest(user, user_names())
            raise UserError(f"unknown user {user!r}; {hint} (or give 'package.module:name')")
        return CheckedUser(user, _BUILDERS[user](llm))
    return _as_user(getattr(user, "__name__", type(user).__name__), user)


def _import(path: str) -> object:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import the user {path!r}: {error}") from error


def _as_user(name: str, user: object) -> CheckedUser:
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
    return CheckedUser(name, FunctionUser(user))


class FunctionUser:
    """A user made from a function `(prompt, reply) -> score`."""

    def __init__(self, function: RewardFunction) -> None:
        self.function = function

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks the function once per episode."""
        return [self._ask(episode) for episode in episodes]

    def _ask(self, episode: Episode) -> Feedback:
        try:
            return Feedback(score=float(self.function(episode.prompt.text, episode.reply)))
        except Exception as error:
            raise UserError(f"{error!r} for the prompt {episode.prompt.text!r}") from error


class CheckedUser:
    """A user whose answers are checked, so that a bug in one is named where it happens.

    Attributes:
        name: What messages call it.
        user: The user itself.
    """

    def __init__(self, name: str, user: User) -> None:
        self.name = name
        self.user = user

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Feedback of the user for a batch.

        Raises:
            UserError: If the user raises, answers a score out of range or NaN, or the wrong
                number of answers.
        """
        try:
            answers = list(self.user(episodes, rng))
        except Exception as error:
            first = episodes[0].prompt.text
            where = (
                "" if isinstance(error, UserError) else f" in a batch that starts with {first!r}"
            )
            raise UserError(f"the user {self.name!r} failed{where}: {error}") from error
        if len(answers) != len(episodes):
            raise UserError(
                f"the user {self.name!r} gave {len(answers)} answers to {len(episodes)} episodes"
            )
        for episode, answer in zip(episodes, answers, strict=True):
            if not isinstance(answer, Feedback):
                raise UserError(
                    f"the user {self.name!r} answered {answer!r} to the prompt "
                    f"{episode.prompt.text!r}; expected a Feedback"
                )
        return answers
