"""Whatever is done to a batch, every row lives as it would alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.envs.text.conftest import Make, act

ROWS = 3
STEP = st.integers(0, 9)
RESET = st.tuples(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), st.integers(0, 50))
OPERATIONS = st.lists(
    st.one_of(
        *[STEP] * 4,
        RESET,
        st.sampled_from(["snapshot", "restore"]),
    ),
    min_size=4,
    max_size=14,
)


class Twins:
    """A batch, and one environment for each of its rows, to which the same is done."""

    def __init__(self, envs: list[Any]) -> None:
        self.batch, *self.alone = envs
        self.seen = self.batch.reset(seed=0)[0]
        for row, env in enumerate(self.alone):
            env.reset(seed=row)
        self.snapshots: tuple[Any, list[Any], Any] | None = None
        self.done = np.zeros(ROWS, bool)

    def step(self, key: int) -> None:
        if self.done.any():
            self.reset(self.done, None)
        actions = act(self.batch, self.seen, [[row, key] for row in range(ROWS)])
        self.seen, rewards, terminated, truncated, _ = self.batch.step(actions)
        self.done = terminated | truncated
        for row, env in enumerate(self.alone):
            seen, reward, own_end, own_cut, _ = env.step(actions[row : row + 1])
            self.compare(row, seen)
            assert reward[0] == pytest.approx(rewards[row], abs=1e-4)
            assert (own_end[0], own_cut[0]) == (terminated[row], truncated[row])

    def reset(self, mask: np.ndarray, seed: int | None) -> None:
        if not mask.any():
            return
        seeds = [None if seed is None else seed + row for row in range(ROWS)]
        self.seen, _ = self.batch.reset(seed=seeds, options={"reset_mask": mask.copy()})
        self.done = self.done & ~mask
        for row in np.flatnonzero(mask).tolist():
            self.compare(row, self.alone[row].reset(seed=[seeds[row]])[0])

    def snapshot(self) -> None:
        kept = [env.snapshot() for env in self.alone]
        self.snapshots = (self.batch.snapshot(), kept, self.done.copy())

    def restore(self) -> None:
        if self.snapshots is None:
            return
        batch, kept, done = self.snapshots
        self.seen, self.done = self.batch.restore(batch), done.copy()
        for row, env in enumerate(self.alone):
            self.compare(row, env.restore(kept[row]))

    def compare(self, row: int, own: dict[str, np.ndarray]) -> None:
        for name, value in own.items():
            expected = self.seen[name][row]
            np.testing.assert_allclose(value[0], expected, atol=1e-3, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("game", ["talk-candidates", "talk-control"])
def test_rows_live_as_they_would_alone(make_game: Make, game: str) -> None:
    options = {"autoreset_mode": AutoresetMode.DISABLED, "keep_tonic_fear": True}
    envs = [
        make_game(game, rows, max_turns=2, max_new_tokens=3, **options) for rows in (ROWS, 1, 1, 1)
    ]

    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(OPERATIONS)
    def live(operations: list[Any]) -> None:
        twins = Twins(envs)
        for operation in operations:
            if isinstance(operation, int):
                twins.step(operation)
            elif isinstance(operation, tuple):
                twins.reset(np.array(operation[0]), operation[1])
            else:
                getattr(twins, operation)()

    live()
