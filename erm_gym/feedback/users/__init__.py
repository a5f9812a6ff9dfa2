"""Simulated users by name, and what they can be put together with.

>>> from erm_gym.feedback import users
>>> str(users.parse("0.5*risk-averse - 0.5*math:copysign|sparse(p=.5)"))
'0.5*risk-averse - 0.5*math:copysign | sparse(0.5)'
"""

from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.batches import Batched, Cached
from erm_gym.feedback.users.checked import CheckedUser, RewardFunction
from erm_gym.feedback.users.delay import Delay
from erm_gym.feedback.users.disturbances import Clipped, Drift, Flip, Noise, Sparse
from erm_gym.feedback.users.expression import Expression, Given, Named, Piped, Sum, named
from erm_gym.feedback.users.grammar import STAGES, parse
from erm_gym.feedback.users.registry import RegisteredUser, registered_users, user_names
from erm_gym.feedback.users.stage import Stage
from erm_gym.feedback.users.weighted import WeightedSum

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
    "Piped",
    "RegisteredUser",
    "RewardFunction",
    "Sparse",
    "Stage",
    "Sum",
    "WeightedSum",
    "named",
    "parse",
    "registered_users",
    "user_names",
]
