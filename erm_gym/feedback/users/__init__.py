"""Simulated users by name, and what they can be put together with.

>>> from erm_gym.feedback import users
>>> str(users.parse("0.5*risk-averse - 0.5*math:copysign|sparse(p=.5)"))
'0.5*risk-averse - 0.5*math:copysign | sparse(0.5)'

What few programs need is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.batches import Batched, Cached
from erm_gym.feedback.users.checked import CheckedUser, RewardFunction
from erm_gym.feedback.users.counts import counts_of
from erm_gym.feedback.users.delay import Delay
from erm_gym.feedback.users.disturbances import Clipped, Drift, Flip, Noise, Sparse
from erm_gym.feedback.users.expression import Expression, Given, Named, Piped, Sum, named
from erm_gym.feedback.users.grammar import STAGES, parse
from erm_gym.feedback.users.registry import RegisteredUser, registered_users, user_names
from erm_gym.feedback.users.stage import Stage
from erm_gym.feedback.users.weighted import WeightedSum

if TYPE_CHECKING:
    from erm_gym.feedback.users.outcome import OutcomeUser
    from erm_gym.feedback.users.personas import Persona
    from erm_gym.feedback.users.rubrics import from_rubric, to_rubric
    from erm_gym.feedback.users.server import UserServer
    from erm_gym.feedback.users.trl import from_trl, to_trl

_HOMES = {
    "OutcomeUser": "outcome",
    "Persona": "personas",
    "UserServer": "server",
    "from_rubric": "rubrics",
    "from_trl": "trl",
    "to_rubric": "rubrics",
    "to_trl": "trl",
}

__all__ = [
    "STAGES",
    "Askable",
    "Batched",
    "Cached",
    "CheckedUser",
    "Clipped",
    "Delay",
    "Drift",
    "Expression",
    "Flip",
    "Given",
    "Named",
    "Noise",
    "OutcomeUser",
    "Persona",
    "Piped",
    "RegisteredUser",
    "RewardFunction",
    "Sparse",
    "Stage",
    "Sum",
    "UserServer",
    "WeightedSum",
    "counts_of",
    "from_rubric",
    "from_trl",
    "named",
    "parse",
    "registered_users",
    "to_rubric",
    "to_trl",
    "user_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
