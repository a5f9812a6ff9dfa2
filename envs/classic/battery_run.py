"""BatteryRun: waypoints to visit in order, and a battery that runs down."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from gymnasium import spaces

from erm_gym.envs.classic.base import VectorOptions
from erm_gym.envs.classic.grid import Cell, GridVectorEnv
from erm_gym.envs.classic.offsets import manhattan, offsets

STEP_REWARD, WAYPOINT_REWARD, ALL_REWARD, EMPTY_REWARD = -0.01, 10.0, 5.0, -50.0
SIZE, HALF = 12, 6
WAYPOINTS, CHARGERS = 5, 4
FIRST, PLACES = 2, 10
"""First row and column of a waypoint, and how many there are."""
MARGINS = (1, 3, 6, 10)
"""Steps beyond those to a charger at which the battery looks fuller in the fair form."""


class BatteryRunVectorEnv(GridVectorEnv):
    """A round trip whose battery never binds, all of it hidden from the agent; the faithful form.

    Description: 12 x 12 cells, start (0, 0). Each episode draws five waypoints in the rows and
        columns 2 to 11, to be visited in order, each but the first another cell than the one
        before; and a charger in each quadrant. The battery begins full, a step takes 1 of it,
        blocked ones too, and a charger refills it. The way through all waypoints is at most 94
        steps long and the battery holds 100: nobody needs to charge.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `Discrete(144)`, the agent's cell.
    Rewards: -.01 a step, +10 for each waypoint in order, +5 for the last one, -50 when the battery
        is empty.
    Termination: all waypoints were visited, or the battery is empty. Truncation: 500 steps.
    Context: `battery`, in [0, 1]; `charger_distance`, Manhattan, of the nearest charger;
        `next_charger_distance` `[B, 4]`, of the same charger after each action; `reserve`, the
        steps that are left beyond those to it; `waypoint_distance`, `next_waypoint_distance`; and
        `reachable`, 1 if the battery lasts to the waypoint and from there to a charger.
    Measures: `waypoints`; `empty`, 1 if the battery was; `completed`.

    Args:
        num_envs: Rows B, >= 1.
        capacity: Steps that a full battery lasts, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Emotional-ED, experiment 23.
    """

    limit = 500
    """Steps after which an episode is truncated."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        capacity: int = 100,
        **options: Unpack[VectorOptions],
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        super().__init__(
            num_envs,
            height=SIZE,
            width=SIZE,
            time_limit=self.limit,
            measures=("waypoints", "empty", "completed"),
            **options,
        )
        self.capacity = capacity
        cells = np.arange(SIZE * SIZE)
        self._between = manhattan(cells[:, None], cells, SIZE)  # [S, S]
        self.battery = self.per_row(int)
        self.visited = self.per_row(int)
        self.waypoints = self.per_row(int, (WAYPOINTS,))
        self.chargers = self.per_row(int, (CHARGERS,))

    def _begin(self, rows: np.ndarray) -> None:
        draws = self.uniform(WAYPOINTS + CHARGERS)
        self.position[rows] = self.visited[rows] = 0
        self.battery[rows] = self.capacity
        self.waypoints[rows] = _waypoints(draws[:, :WAYPOINTS])[rows]
        self.chargers[rows] = _chargers(draws[:, WAYPOINTS:])[rows]

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.go(actions)
        self.battery -= 1
        charging = (self.chargers == self.position[:, None]).any(axis=1)
        self.battery[charging] = self.capacity
        found = self.position == self._waypoint()
        self.visited += found
        completed = self.visited == WAYPOINTS
        empty = (self.battery <= 0) & ~completed
        self.measures["waypoints"] += found
        self.measures["completed"] += completed
        self.measures["empty"] += empty
        paid = WAYPOINT_REWARD * found + ALL_REWARD * completed + EMPTY_REWARD * empty
        return STEP_REWARD + paid, completed | empty

    def _waypoint(self) -> np.ndarray:
        """The waypoint `[B]` that is next; the last one where all were visited."""
        place = np.minimum(self.visited, WAYPOINTS - 1)
        chosen: np.ndarray = self.waypoints[np.arange(self.num_envs), place]
        return chosen

    def _nearest_charger(self, cells: np.ndarray) -> np.ndarray:
        nearest = self._between[cells[:, None], self.chargers].argmin(axis=1)
        chosen: np.ndarray = self.chargers[np.arange(self.num_envs), nearest]
        return chosen

    def _context(self) -> dict[str, np.ndarray]:
        charger, waypoint = self._nearest_charger(self.position), self._waypoint()
        entered = self.moves.target[self.position]  # [B, 4]
        to_charger = self._between[self.position, charger]
        to_waypoint = self._between[self.position, waypoint]
        after = self._between[waypoint, self._nearest_charger(waypoint)]
        parts = {
            "battery": self.battery / self.capacity,
            "charger_distance": to_charger,
            "next_charger_distance": self._between[entered, charger[:, None]],
            "reserve": self.battery - to_charger,
            "waypoint_distance": to_waypoint,
            "next_waypoint_distance": self._between[entered, waypoint[:, None]],
            "reachable": self.battery >= to_waypoint + after,
        }
        return {name: np.asarray(values, float) for name, values in parts.items()}

    def _symbols(self, row: int) -> dict[Cell, str]:
        chargers = {divmod(int(cell), SIZE): "+" for cell in self.chargers[row]}
        later = self.waypoints[row][int(self.visited[row]) :]
        numbered = {divmod(int(cell), SIZE): str(number) for number, cell in enumerate(later)}
        return {**chargers, **numbered}


class FairBatteryRunVectorEnv(BatteryRunVectorEnv):
    """A battery for 25 steps, and everybody sees it, the waypoint's way and the charger's.

    Description: as in the faithful form, but who never charges runs empty in most episodes.
    Action Space: `Discrete(4)`: up, down, left, right.
    Observation: `MultiDiscrete([3, 3, 3, 3, 5, 2])`: the signs of the rows down and columns right
        to the waypoint, and to the nearest charger; the steps left beyond those to the charger, in
        parts that begin at 1, 3, 6 and 10; and whether the battery lasts to the waypoint and from
        there to a charger.
    Rewards, termination, context, measures: as in the faithful form. Truncation: 200 steps.

    Args:
        num_envs: Rows B, >= 1.
        capacity: Steps that a full battery lasts, >= 1.
        **options: `autoreset_mode` and `render_mode`, as for `ClassicVectorEnv`.

    Source: the fair form of Emotional-ED, experiment 23; the signs and parts are our own, so that a
    table of 810 states holds it, and so is the time limit.
    """

    limit = 200

    def __init__(
        self,
        num_envs: int = 1,
        *,
        capacity: int = 25,
        **options: Unpack[VectorOptions],
    ) -> None:
        super().__init__(num_envs, capacity=capacity, **options)
        self.observe_as(spaces.MultiDiscrete([3, 3, 3, 3, len(MARGINS) + 1, 2]))

    def _observe(self) -> np.ndarray:
        context = self._context()
        charger = self._nearest_charger(self.position)
        ways = [offsets(self.position, cell, SIZE) for cell in (self._waypoint(), charger)]
        reserve = np.digitize(context["reserve"], MARGINS)
        reachable = context["reachable"].astype(np.int64)
        return np.hstack(
            [*(np.sign(way) + 1 for way in ways), reserve[:, None], reachable[:, None]]
        )


def _waypoints(draws: np.ndarray) -> np.ndarray:
    """Cells `[B, 5]`, each but the first another one than the one before, from `[B, 5]`."""
    count = PLACES * PLACES
    places = np.empty(draws.shape, np.int64)
    places[:, 0] = draws[:, 0] * count
    for number in range(1, WAYPOINTS):
        further = 1 + (draws[:, number] * (count - 1)).astype(np.int64)
        places[:, number] = (places[:, number - 1] + further) % count
    row, column = np.divmod(places, PLACES)
    return (FIRST + row) * SIZE + FIRST + column


def _chargers(draws: np.ndarray) -> np.ndarray:
    """A cell of each quadrant `[B, 4]`, from numbers `[B, 4]`."""
    row, column = np.divmod((draws * HALF * HALF).astype(np.int64), HALF)
    corner_row, corner_column = np.divmod(np.arange(CHARGERS), 2)
    return (HALF * corner_row + row) * SIZE + HALF * corner_column + column
