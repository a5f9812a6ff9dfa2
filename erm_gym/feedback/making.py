"""Users from names, expressions, functions and objects; whatever they answer is checked."""

from __future__ import annotations

import inspect
from itertools import count
from typing import Any

from erm_gym.feedback.episode import User
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.checked import CheckedUser, RewardFunction, as_user
from erm_gym.feedback.users.expression import Expression, Given, Named, Piped
from erm_gym.feedback.users.grammar import parse
from erm_gym.feedback.users.registry import build, instance, user_names
from erm_gym.feedback.users.stage import PipedUser
from erm_gym.feedback.users.weighted import WeightedSum
from erm_gym.llm import FrozenLLM

__all__ = ["AnyUser", "CheckedUser", "RewardFunction", "make_user", "user_names"]

AnyUser = str | Expression | User | RewardFunction | type
"""What `make_user` takes."""


def make_user(user: AnyUser, llm: FrozenLLM) -> CheckedUser:
    """A user from whatever names or is one.

    Args:
        user: A name from `user_names`, `package.module:attribute`, the http(s) address of a remote
            user, an expression of these (as text, or as `users.parse` gives it), an object that
            follows `User`, a function `(prompt, reply) -> float`, or a class with a classmethod
            `for_llm`. Functions and `__call__` may be `async`.
        llm: The frozen LM that built-in users read replies with.

    Returns:
        The user, with every answer checked.

    Raises:
        UserError: If a name is unknown, a user is broken, or the object is none.
    """
    if isinstance(user, CheckedUser):
        return user
    if isinstance(user, str):
        user = parse(user)
    if inspect.isclass(user):
        return instance(user.__name__, user, {}, llm)
    if isinstance(user, Expression):
        user.check()
        return _checked(_make(user, llm, count()))
    return as_user(Given(user=user).name, user)


def _checked(user: Askable) -> CheckedUser:
    return user if isinstance(user, CheckedUser) else CheckedUser(user.name, user)


def _make(expression: Expression, llm: FrozenLLM, numbers: count[int]) -> Askable:
    """The user of an expression; its stages are numbered from left to right."""
    if isinstance(expression, Named):
        checked = build(expression.name, dict(expression.options), llm)
        return CheckedUser(str(expression), _renumbered(checked.user, numbers))
    if isinstance(expression, Given):
        given = parse(expression.user) if isinstance(expression.user, str) else expression.user
        if isinstance(given, Expression):
            given.check()
            return _checked(_make(given, llm, numbers))
        return _checked(_renumbered(make_user(given, llm), numbers))
    if isinstance(expression, Piped):
        inner = _make(expression.inner, llm, numbers)
        return expression.stage.over(inner, next(numbers))
    terms = list(expression.terms())
    made = [_make(term, llm, numbers) for _, term in terms]
    return WeightedSum(made, [weight for weight, _ in terms], str(expression))


def _renumbered(user: User, numbers: count[int]) -> Any:
    """The same user, but for the numbers of its stages, which are those that are free here.

    A user that was made before has stages that are numbered from 0, and would otherwise draw the
    same as others of this expression.
    """
    if isinstance(user, CheckedUser):
        return CheckedUser(user.name, _renumbered(user.user, numbers))
    if isinstance(user, PipedUser):
        inner = _renumbered(user.user, numbers)
        return user.stage.over(inner, next(numbers))
    if isinstance(user, WeightedSum):
        return WeightedSum(
            [_renumbered(one, numbers) for one in user.users], user.weights, user.name
        )
    return user


def check_name(user: object) -> None:
    """Makes sure that the text of a user can be read, before anything slow is done.

    Raises:
        UserError: If it cannot, or a name in it is unknown.
    """
    if isinstance(user, str):
        parse(user)
