"""LostResource: something that is worth going to again and again, until it is gone."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv

STEP_REWARD, RESOURCE_REWARD, SECOND_REWARD = -0.01, 0.5, 0.2
PAUSE = 5
"""Steps after which a resource that was picked up is there again."""
WINDOW, WINDOWS = 20, 4
"""Steps of the parts in which visits after the loss are counted, and their number."""
SECOND = (4, 4)
RETURN_AFTER = 30
"""Steps after which the loss of the fair form is over in half of the episodes."""


class LostResourceVectorEnv(GridVectorEnv):
    """A resource that is lost for good, and nothing else to do; the faithful form.

    Description: `size` x `size` cells, start (0, 0), a resource in the middle. It is there again 5
        steps after it was picked up, and never again from step `loss` + 1 on. Who stays there loses
        nothing by it.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(size * size)`, the agent's cell; whether the resource is there is hidden.
    Rewards: -.01 a step, +.5 for the resource in its place.
    Termination: none. Truncation: after `steps`.
    Context: `picked`, 1 if the last step picked the resource up; `since_loss`, steps since it was
        lost, 0 before; `blocked`, 1 if the last move was into the edge.
    Measures: `picked`; `visits`, steps after the loss that end in the middle; `visits_1` to
        `visits_4`, those of the first four times 20 steps after the loss.

    Args:
        num_envs: Rows B, >= 1.
        size: Rows and columns, odd and >= 3.
        loss: The last step at which the resource can be there, >= 1.
        steps: Of an episode, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 4.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 5,
        loss: int = 50,
        steps: int = 150,
        **options: Unpack[VectorOptions],
    ) -> None:
        if size < 3 or size % 2 == 0:
            raise ValueError(f"size must be odd and at least 3, got {size}")
        for name, value in (("loss", loss), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        windows = [f"visits_{number + 1}" for number in range(WINDOWS)]
        super().__init__(
            num_envs,
            height=size,
            width=size,
            time_limit=steps,
            measures=("picked", "visits", *windows),
            **options,
        )
        self.resource, self.loss = (size // 2, size // 2), loss
        self.ready = self.per_row(int)
        self.picked = self.per_row(bool)

    def _begin(self, rows: np.ndarray) -> None:
        self.position[rows] = 0
        self.ready[rows] = 0
        self.picked[rows] = self.blocked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        there = self.position == self.cell(self.resource)
        self.picked[:] = there & (self.elapsed >= self.ready) & self._exists()
        self.ready[:] = np.where(self.picked, self.elapsed + PAUSE, self.ready)
        since = self._since_loss()
        self.measures["picked"] += self.picked
        self.measures["visits"] += there & (since > 0)
        for number in range(WINDOWS):
            inside = (since > number * WINDOW) & (since <= (number + 1) * WINDOW)
            self.measures[f"visits_{number + 1}"] += there & inside
        reward = np.where(self.picked, RESOURCE_REWARD, STEP_REWARD)
        return reward, np.zeros(self.num_envs, bool)

    def _since_loss(self) -> np.ndarray:
        """Steps since the loss `[B]`, 0 before."""
        return np.maximum(0, self.elapsed - self.loss)

    def _exists(self) -> np.ndarray:
        """Whether the resource is not lost, `[B]` bool."""
        return self._since_loss() == 0

    def _context(self) -> dict[str, np.ndarray]:
        return {
            "picked": self.picked.astype(float),
            "since_loss": self._since_loss().astype(float),
            "blocked": self.blocked.astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {self.resource: "R"} if self._exists()[row] else {}


class FairLostResourceVectorEnv(LostResourceVectorEnv):
    """The same with something else to do, and a loss that may pass: to wait and to leave can pay.

    Description: 5 x 5 cells, start (0, 0), the resource at (2, 2), a second one at (4, 4) that is
        worth less and never lost. After step 50 the first one is gone. In half of the episodes it
        is back 30 steps later, which only shows when it is picked up.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([25, 6, 2, 2])`: the agent's cell; the resource: not lost, or found
        again (0), lost for up to 10 (1), 20 (2) or 30 steps (3), for more and not looked for since
        (4), or looked for in vain since (5); and whether each resource, if it exists, is there
        again (1) or was picked up in the last 5 steps (0).
    Rewards: -.01 a step; in its place +.5 for the first resource, +.2 for the second.
    Termination: none. Truncation: 150 steps.
    Context: as in the faithful form, with `since_loss` 0 again once the resource is found;
        `unsure`, 1 while the resource may be back and was not looked for.
    Measures: as in the faithful form; `second`, times that the second resource was picked up;
        `found`, 1 if the first one was picked up after the loss.

    Args:
        num_envs: Rows B, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 4; the place of the second resource is our
        own, and so is what is observed of the loss.
    """

    def __init__(self, num_envs: int = 1, **options: Unpack[VectorOptions]) -> None:
        super().__init__(num_envs, **options)
        self.observe_as(spaces.MultiDiscrete([25, 6, 2, 2]))
        self.returns = self.per_row(bool)
        self.found = self.per_row(bool)
        self.looked = self.per_row(bool)
        self.ready_second = self.per_row(int)
        self.measures["second"] = self.per_row(float)
        self.measures["found"] = self.per_row(float)

    def _begin(self, rows: np.ndarray) -> None:
        super()._begin(rows)
        self.returns[rows] = (self.uniform()[:, 0] < 0.5)[rows]
        self.ready_second[rows] = 0
        self.found[rows] = self.looked[rows] = False

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        reward, terminated = super()._advance(actions)
        late = self._late()
        self.found |= self.picked & late
        self.looked |= late & (self.position == self.cell(self.resource))
        second = (self.position == self.cell(SECOND)) & (self.elapsed >= self.ready_second)
        self.ready_second[:] = np.where(second, self.elapsed + PAUSE, self.ready_second)
        self.measures["second"] += second
        self.measures["found"][:] = self.found
        return np.where(second, SECOND_REWARD, reward), terminated

    def _late(self) -> np.ndarray:
        """Whether the resource may be back, `[B]` bool."""
        return self._since_loss() > RETURN_AFTER

    def _exists(self) -> np.ndarray:
        return super()._exists() | (self.returns & self._late())

    def _phase(self) -> np.ndarray:
        """What is known of the resource, `[B]` int in [0, 6)."""
        lost = np.minimum(4, (self._since_loss() + 9) // 10)
        return np.where(self.found, 0, np.where(self.looked, 5, lost))

    def _observe(self) -> np.ndarray:
        ready = [self.elapsed + 1 >= each for each in (self.ready, self.ready_second)]
        return np.stack([self.position, self._phase(), *ready], axis=1)

    def _context(self) -> dict[str, np.ndarray]:
        context = super()._context()
        return {
            **context,
            "since_loss": np.where(self.found, 0.0, context["since_loss"]),
            "unsure": (self._phase() == 4).astype(float),
        }

    def _symbols(self, row: int) -> dict[Cell, str]:
        return {**super()._symbols(row), SECOND: "r"}
