"""Names of users, and what they stand for: the package's own, and those of other distributions."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from erm_gym.feedback.episode import UserError
from erm_gym.feedback.users.checked import CheckedUser, as_user
from erm_gym.llm import FrozenLLM
from erm_gym.llm.suggestion import suggest

BUILT_IN: dict[str, str] = {
    "empathy": "erm_gym.feedback.users.empathy:EmpathyUser",
    "judge": "erm_gym.feedback.users.chat_judge:JudgeUser",
    "outcome": "erm_gym.feedback.users.outcome:OutcomeUser",
    "preference": "erm_gym.feedback.users.preference:PreferenceUser",
    "remote": "erm_gym.feedback.users.remote:RemoteUser",
    "reward-model": "erm_gym.feedback.users.reward_model:RewardModelUser",
    "risk-averse": "erm_gym.feedback.risk_averse:RiskAverseUser",
    "sentiment": "erm_gym.feedback.users.sentiment:SentimentUser",
    "toxicity": "erm_gym.feedback.users.toxicity:ToxicityUser",
}
"""The package's own users by name; each is imported when it is asked for."""
REMOTE = "remote"
"""The user that an `http://` or `https://` address stands for; its option is `url`."""
ENTRY_POINTS = "erm_gym.users"
"""Group of the entry points by which other distributions add users."""
NAME = re.compile(r"[A-Za-z_][\w-]*")
"""What a user may be called."""

Option = bool | int | float | str
"""Value of an option of a user."""


@dataclass(frozen=True, kw_only=True)
class RegisteredUser:
    """A name and what it stands for."""

    name: str
    """What it is asked for by."""
    path: str
    """Where it is: `package.module:attribute`."""
    source: str
    """Name of the distribution that it comes with."""
    problem: str = ""
    """Why it cannot be used, as far as is known without importing it."""

    def load(self) -> object:
        """Imports what the name stands for.

        Raises:
            UserError: If it cannot be used; the message names the distribution.
        """
        if self.problem:
            raise UserError(f"the user {self.name!r} of {self.source} {self.problem}")
        try:
            return import_path(self.path)
        except UserError as error:
            raise UserError(f"the user {self.name!r} of {self.source} is broken: {error}") from (
                error.__cause__
            )

    def describe(self) -> str:
        """The first line of its docstring.

        Raises:
            UserError: If it cannot be imported.
        """
        user = self.load()
        written = inspect.isroutine(user) or inspect.isclass(user)
        lines = (inspect.getdoc(user if written else type(user)) or "").splitlines()
        return lines[0] if lines else "(has no docstring)"


def registered_users() -> dict[str, RegisteredUser]:
    """All users with a name, by name; nothing is imported.

    Of two distributions that give the same name neither is used, and the package's own users keep
    theirs.
    """
    users = {name: _own(name) for name in BUILT_IN}
    added: dict[str, RegisteredUser] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        source = entry.dist.name if entry.dist is not None else "an unknown distribution"
        problem = ""
        path = entry.value.partition("[")[0].strip()  # what follows are extras
        if not NAME.fullmatch(entry.name):
            problem = "needs a name of letters, digits, - and _"
        elif entry.name in users:
            continue
        elif entry.name in added and added[entry.name].path != path:
            source = f"{added[entry.name].source} and of {source}"
            problem = "is there twice; uninstall one of the two"
        added[entry.name] = RegisteredUser(
            name=entry.name, path=path, source=source, problem=problem
        )
    return dict(sorted({**users, **added}.items()))


def _own(name: str) -> RegisteredUser:
    return RegisteredUser(name=name, path=BUILT_IN[name], source="erm-gym")


def registered_user(name: str) -> RegisteredUser:
    """The user of a name.

    Raises:
        UserError: If nobody has it; it suggests the nearest.
    """
    found = _own(name) if name in BUILT_IN else registered_users().get(name)
    if found is None:
        raise UserError(unknown_user(name))
    return found


def user_names() -> list[str]:
    """Names that `make_user` knows, in alphabetical order."""
    return list(registered_users())


def build(name: str, options: Mapping[str, Option], llm: FrozenLLM) -> CheckedUser:
    """A user from its name.

    Args:
        name: A name from `user_names`, or `package.module:attribute`.
        options: Its options by name.
        llm: The frozen LM that built-in users read replies with.

    Raises:
        UserError: If there is no such user, it is broken, or an option does not fit.
    """
    if ":" in name:
        return instance(name, import_path(name), options, llm)
    return instance(name, registered_user(name).load(), options, llm)


def unknown_user(name: str) -> str:
    """What to say of a name that nobody has."""
    return f"unknown user {name!r}; {suggest(name, user_names())} (or give 'package.module:name')"


def instance(
    name: str, found: object, options: Mapping[str, Option], llm: FrozenLLM
) -> CheckedUser:
    """A user from a class with `for_llm`, an object, or a function.

    Raises:
        UserError: If it is none of these, cannot be made, or an option does not fit.
    """
    if inspect.isclass(found):
        builder = getattr(found, "for_llm", None)
        if not callable(builder):
            raise UserError(
                f"{name!r} is a class without the classmethod for_llm(llm, *, ...); add one, or "
                "name an instance of it"
            )
        _check_options(name, builder, options)
        try:
            made = builder(llm, **options)
        except UserError:
            raise
        except Exception as error:  # for_llm runs any code
            bare = isinstance(error, KeyError) or not str(error)  # says only which key, or nothing
            reason = repr(error) if bare else str(error)
            raise UserError(f"the user {name!r} cannot be made: {reason}") from error
        return made if isinstance(made, CheckedUser) else CheckedUser(name, made)
    if options:
        raise UserError(f"the user {name!r} takes no options: only a class with for_llm has any")
    return as_user(name, found)


def import_path(path: str) -> object:
    """What `package.module:attribute` names.

    Raises:
        UserError: If it cannot be imported.
    """
    module, _, attributes = path.partition(":")
    try:
        found: object = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
        return found
    except Exception as error:  # a module runs any code when it is imported
        raise UserError(f"cannot import the user {path!r}: {error}") from error


def _check_options(
    name: str, builder: Callable[..., object], options: Mapping[str, Option]
) -> None:
    """Compares options with what a builder takes: names, and types as far as a default tells."""
    taken = {
        parameter.name: parameter
        for parameter in inspect.signature(builder).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for option, value in options.items():
        if option not in taken:
            hint = suggest(option, taken) if taken else "it has none"
            raise UserError(f"unknown option {option!r} of the user {name!r}; {hint}")
        default = taken[option].default
        if isinstance(default, (bool, int, float, str)) and not _fits(value, default):
            raise UserError(
                f"the option {option!r} of the user {name!r} is {value!r}; it must be of the type "
                f"{type(default).__name__}, like its default {default!r}"
            )
    missing = [
        option
        for option, one in taken.items()
        if one.default is one.empty and option not in options
    ]
    if missing:
        raise UserError(
            f"the user {name!r} needs the option {missing[0]!r}: {name}({missing[0]}=...)"
        )


def _fits(value: Option, default: Option) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))
