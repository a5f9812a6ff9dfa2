"""What the feedback of simulated users costs beside the steps that write the replies.

Steps and users are timed in one process, in turn, and the median over the rounds counts. The
users judge the replies that the environment wrote, as it hands them over.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import ENVIRONMENT, best_allowed
from erm_gym.feedback import CheckedUser, Episode, Feedback, UserError, make_user
from erm_gym.feedback.users import user_names
from erm_gym.llm import DEFAULT_LLM, FrozenLLM, load_llm

ELSEWHERE = ("judge", "remote")
"""Users whose time is that of another machine."""
STEP = "step"
"""Key of the environment's own time."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time the feedback of simulated users beside the steps of the text environment."""

    llm: str = DEFAULT_LLM
    """The frozen LM."""
    dtype: str = "bfloat16"
    """Its precision."""
    device: str = "cpu"
    """Where it runs."""
    rows: int = 32
    """Number B of replies that are written, and judged, together."""
    new_tokens: int = 20
    """Number N of tokens of a reply."""
    users: tuple[str, ...] = ()
    """Names or expressions; by default all registered users that answer on this machine."""
    rounds: int = 9
    """Rounds in which one batch is written and every user judges it; the median counts."""
    cpu_time: bool = False
    """Time of the process on the CPU instead of that on the wall: for a machine that others use,
    with OMP_NUM_THREADS=1."""
    quick: bool = False
    """Two rounds of 4 rows of 4 tokens, to see that it runs."""
    out: Path | None = None
    """JSON file for the results; by default users.json beside this file, unless something else is
    not the default."""


class _Collector:
    """A user that costs nothing, and keeps what it is shown."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        self.episodes = list(episodes)
        return [Feedback(score=0.0) for _ in episodes]


def find_users(names: Sequence[str], llm: FrozenLLM) -> tuple[dict[str, CheckedUser], list[str]]:
    """The users that can be made, and why the others cannot."""
    made, left_out = {}, []
    for name in names or [name for name in user_names() if name not in ELSEWHERE]:
        try:
            made[name] = make_user(name, llm)
        except (UserError, ValueError) as error:  # a judge of another model is a ValueError
            left_out.append(f"{name}: {error}")
    return made, left_out


def measure(
    llm: FrozenLLM, users: dict[str, CheckedUser], arguments: Arguments
) -> dict[str, float]:
    """Median milliseconds of a step of B rows, and of each user's feedback on B replies."""
    collector = _Collector()
    envs = gym.make_vec(
        ENVIRONMENT,
        num_envs=arguments.rows,
        llm=llm,
        user=collector,
        max_new_tokens=arguments.new_tokens,
    )
    banned = sorted(llm.end_of_turn)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    def now() -> float:
        if llm.device.type == "cuda":
            torch.cuda.synchronize(llm.device)
        return clock()

    def timed(work: Callable[..., Any], *arguments: Any) -> float:
        start = now()
        work(*arguments)
        return 1e3 * (now() - start)

    times: dict[str, list[float]] = {name: [] for name in (STEP, *users)}
    for index in range(arguments.rounds + 1):
        observations, _ = envs.reset(seed=index)
        steps = []
        for _ in range(arguments.new_tokens):
            actions = best_allowed(observations["candidates"], banned)
            start = now()
            observations, *_ = envs.step(actions)
            steps.append(1e3 * (now() - start))
        episodes = collector.episodes
        assert len(episodes) == arguments.rows
        spent = {STEP: statistics.mean(steps)}
        for name, user in users.items():
            spent[name] = timed(user, episodes, np.random.default_rng(0))
        if index:  # in the first round, what is done once is done
            for name, each in spent.items():
                times[name].append(each)
    envs.close()
    return {name: statistics.median(each) for name, each in times.items()}


def shares(measured: dict[str, float], arguments: Arguments) -> dict[str, dict[str, float]]:
    """For each user its time, and its share: on average a step ends B / N of B replies."""
    step = measured[STEP]
    return {
        name: {
            "ms_per_batch": each,
            "share_of_a_step": each / arguments.new_tokens / step,
            "share_of_the_last_step": each / step,
        }
        for name, each in measured.items()
        if name != STEP
    }


def table(found: dict[str, dict[str, float]], step: float, arguments: Arguments) -> Table:
    """One user a line."""
    title = f"B = {arguments.rows}, N = {arguments.new_tokens}: a step takes {step:.1f} ms"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("user")
    shown.add_column("ms for B replies", justify="right")
    shown.add_column("of a rollout step", justify="right")
    shown.add_column("of the step that ends them", justify="right")
    for name, entry in found.items():
        shown.add_row(
            name,
            f"{entry['ms_per_batch']:.2f}",
            f"{entry['share_of_a_step']:.2%}",
            f"{entry['share_of_the_last_step']:.1%}",
        )
    return shown


def main(arguments: Arguments) -> None:
    """Measures, prints a table and writes the JSON file."""
    out = arguments.out
    if out is None and arguments == Arguments():
        out = Path(__file__).parent / "users.json"
    if arguments.quick:
        arguments = replace(arguments, rows=4, new_tokens=4, rounds=2)
    console = Console(width=None if Console().is_terminal else 120)
    llm = load_llm(arguments.llm, dtype=arguments.dtype, device=arguments.device)
    users, left_out = find_users(arguments.users, llm)
    measured = measure(llm, users, arguments)
    found = shares(measured, arguments)
    console.print(table(found, measured[STEP], arguments))
    for reason in left_out:
        console.print(f"left out: {reason}", style="dim")
    if out is not None:
        answer = {
            "arguments": asdict(replace(arguments, out=None)),
            "threads": torch.get_num_threads(),
            "ms_per_step": measured[STEP],
            "users": found,
        }
        out.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
