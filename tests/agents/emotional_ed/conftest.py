"""Steps of learners, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from erm_gym.agents.emotional_ed import Situation, Transition

Contexts = Mapping[str, list[float]]
Step = Callable[..., Transition]


@pytest.fixture
def step() -> Step:
    """Makes a transition from contexts, rewards and so on; what is not given is 0."""

    def make(
        after: Contexts,
        *,
        before: Contexts | None = None,
        action: list[int] | None = None,
        last_action: list[int] | None = None,
        state: list[int] | None = None,
        reward: list[float] | None = None,
        terminated: list[bool] | None = None,
    ) -> Transition:
        rows = len(next(iter(after.values())))
        zeros = np.zeros(rows)
        taken = np.array(action or [0] * rows)

        def situation(context: Contexts, last: np.ndarray) -> Situation:
            arrays = {name: np.array(values, float) for name, values in context.items()}
            return Situation(state=np.array(state or zeros, int), context=arrays, last_action=last)

        return Transition(
            before=situation(before or after, np.array(last_action or [-1] * rows)),
            action=taken,
            reward=zeros if reward is None else np.array(reward),
            after=situation(after, taken),
            terminated=zeros.astype(bool) if terminated is None else np.array(terminated),
            value=zeros,
            active=np.ones(rows, bool),
        )

    return make
