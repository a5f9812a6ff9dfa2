"""Users from names, expressions, functions and objects; whatever they answer is checked."""

from __future__ import annotations

import inspect
from itertools import count

from erm_gym.feedback.episode import User
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.checked import CheckedUser, RewardFunction, as_user
from erm_gym.feedback.users.expression import Expression, Given, Named, Piped
from erm_gym.feedback.users.grammar import parse
from erm_gym.feedback.users.registry import build, instance, user_names
from erm_gym.feedback.users.weighted import WeightedSum
from erm_gym.llm import FrozenLLM

__all__ = ["CheckedUser", "RewardFunction", "make_user", "user_names"]


def make_user(user: str | Expression | User | RewardFunction | type, llm: FrozenLLM) -> CheckedUser:
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
    if isinstance(user, Expression):
        user.check()
        made = _make(user, llm, count())
        return made if isinstance(made, CheckedUser) else CheckedUser(made.name, made)
    if inspect.isclass(user):
        return instance(user.__name__, user, {}, llm)
    return as_user(getattr(user, "__name__", type(user).__name__), user)


def _make(expression: Expression, llm: FrozenLLM, numbers: count[int]) -> Askable:
    """The user of an expression; its stages are numbered from left to right."""
    if isinstance(expression, Named):
        checked = build(expression.name, dict(expression.options), llm)
        return CheckedUser(str(expression), checked.user)
    if isinstance(expression, Given):
        return make_user(expression.user, llm)
    if isinstance(expression, Piped):
        inner = _make(expression.inner, llm, numbers)
        return expression.stage.over(inner, next(numbers))
    terms = list(expression.terms())
    made = [_make(term, llm, numbers) for _, term in terms]
    return WeightedSum(made, [weight for weight, _ in terms], str(expression))


def check_name(user: object) -> None:
    """Makes sure that the text of a user can be read, before anything slow is done.

    Raises:
        UserError: If it cannot, or a name in it is unknown.
    """
    if isinstance(user, str):
        parse(user)
