"""How much faster many seeds learn together than one after the other, one step at a time.

Both run the same Q-learner in the same environment for the same number of episodes, in one process
and in turn: once with a row for each seed, once with one row and a loop over single environments.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console

from erm_gym.agents.emotional_ed import QLearner, Situation
from erm_gym.agents.emotional_ed.named import named_agent
from erm_gym.evaluation.classic_runs import (
    make_rows,
    number_of_actions,
    number_of_states,
    play,
    state_numbers,
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time tabular agents: many rows in NumPy beside a loop over single environments."""

    agent: str = "feared-q"
    """A tabular agent."""
    env: str = "ErmGym/FearGrid-v1"
    """A classic environment."""
    seeds: tuple[int, ...] = (50, 200)
    """Rows that learn together: those of a comparison, and those of its search."""
    episodes: int = 100
    """Episodes that each of them learns for."""
    rounds: int = 5
    """Rounds, of which the median counts."""
    out: Path | None = None
    """JSON file for the results; by default classic.json beside this file."""


def together(arguments: Arguments, seeds: int) -> float:
    """Steps per processor second of all seeds in one batch."""
    envs = make_rows(arguments.env, seeds)
    learner = make_learner(arguments, list(range(seeds)), envs)
    began = time.process_time()
    found = play(envs, learner, arguments.episodes, seed=0)
    return float(found["length"].sum() / (time.process_time() - began))


def one_by_one(arguments: Arguments) -> float:
    """Steps per processor second of one seed in a single environment, stepped in a loop."""
    env = gym.make(gym.spec(arguments.env))
    learner = make_learner(arguments, [0], env)
    every, steps = np.ones(1, bool), 0
    began = time.process_time()
    for episode in range(arguments.episodes):
        observation, info = env.reset(seed=episode)
        here = situation(env, observation, info, -1)
        learner.begin(every, here)
        done = False
        while not done:
            action = learner.act(here)
            observation, reward, terminated, truncated, info = env.step(int(action[0]))
            there = situation(env, observation, info, int(action[0]))
            learner.observe(
                here, action, np.array([reward]), there, np.array([terminated]), active=every
            )
            here, done, steps = there, terminated or truncated, steps + 1
    return steps / (time.process_time() - began)


def make_learner(
    arguments: Arguments, seeds: list[int], env: gym.Env | gym.vector.VectorEnv
) -> QLearner:
    """The agent, for as many rows as there are seeds."""
    space = getattr(env, "single_observation_space", env.observation_space)
    actions = getattr(env, "single_action_space", env.action_space)
    channels = named_agent(arguments.agent).channels()
    return QLearner(seeds, number_of_states(space), number_of_actions(actions), channels=channels)


def situation(env: gym.Env, observation: object, info: dict[str, object], action: int) -> Situation:
    """What the learner sees of a single environment."""
    context = info["context"]
    assert isinstance(context, dict)
    return Situation(
        state=np.atleast_1d(state_numbers(env.observation_space, np.asarray([observation]))),
        context={name: np.asarray([value]) for name, value in context.items()},
        last_action=np.array([action]),
    )


def main(arguments: Arguments) -> None:
    """Times all in turn and shows the median ratios."""
    rounds = [
        (one_by_one(arguments), *(together(arguments, seeds) for seeds in arguments.seeds))
        for _ in range(arguments.rounds)
    ]
    console = Console()
    slow = statistics.median(each[0] for each in rounds)
    console.print(f"one by one: {slow:,.0f} steps/s")
    found = {}
    for place, seeds in enumerate(arguments.seeds, start=1):
        fast = statistics.median(each[place] for each in rounds)
        ratio = statistics.median(each[place] / each[0] for each in rounds)
        console.print(f"{seeds} together: {fast:,.0f} steps/s, {ratio:.1f} times as fast")
        found[seeds] = {"steps_per_second": fast, "ratio": ratio}
    options = {key: value for key, value in asdict(arguments).items() if key != "out"}
    results = {"arguments": options, "one_by_one": slow, "together": found}
    out = arguments.out or Path(__file__).with_name("classic.json")
    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
