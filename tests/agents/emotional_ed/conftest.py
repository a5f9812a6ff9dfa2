"""Steps for learners, without an environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition

Look = Callable[..., Situation]
Step = Callable[..., Transition]


@pytest.fixture
def look() -> Look:
    """Makes situations: states, last actions, and context by name."""

    def make(
        state: list[int], last_action: list[int] | None = None, **context: list[float]
    ) -> Situation:
        last = [-1] * len(state) if last_action is None else last_action
        parts = {name: np.array(values, float) for name, values in context.items()}
        return Situation(state=np.array(state), context=parts, last_action=np.array(last))

    return make


@pytest.fixture
def step(look: Look) -> Step:
    """Makes transitions of one row or more, of which all count; what is not given is 0."""

    def make(
        *,
        reward: list[float] | None = None,
        action: list[int] | None = None,
        last_action: list[int] | None = None,
        state: list[int] | None = None,
        after: list[int] | None = None,
        terminated: list[bool] | None = None,
        value: list[float] | None = None,
        **context: list[float],
    ) -> Transition:
        rows = len(next(given for given in (reward, *context.values()) if given is not None))
        zeros = [0] * rows
        return Transition(
            before=look(state or zeros, last_action, **context),
            action=np.array(action or zeros),
            reward=np.array(reward or zeros, float),
            after=look(after or state or zeros, action or zeros, **context),
            terminated=np.array(terminated or [False] * rows),
            value=np.array(value or zeros, float),
            active=np.ones(rows, bool),
        )

    return make
