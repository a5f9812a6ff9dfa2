"""Tokens per second of the text environment, and of other ways to write with the same model.

All contenders run in one process, in turn, and the median over the rounds counts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import (
    Contender,
    Task,
    bare,
    best_allowed,
    environment,
    floor,
    generate,
    make_environment,
    one_environment_per_row,
    plain_model,
    uncached,
)
from benchmarks.memory import held_bytes
from benchmarks.profile import profile_steps
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.llm import DEFAULT_LLM, load_llm

SLOW = ("uncached", "uncached, last position", "one env per row")
"""Contenders that are timed over `slow_steps` steps, once per round for `slow_rounds` rounds."""
COMPARED = (
    "generate",
    "uncached",
    "uncached, last position",
    "one env per row",
    "floor",
    "packed floor",
)
"""What the environment is compared with, besides the faster bare loop."""
NAMES = {
    "env": "environment, critic on",
    "env without critic": "environment, no critic",
    "bare dynamic": "(a) bare loop, DynamicCache",
    "bare static": "(a) bare loop, StaticCache",
    "generate": "(b) model.generate, sampling",
    "uncached": "(c) whole text anew, as the seed document",
    "uncached, last position": "    the same, head on the last position alone",
    "one env per row": "(d) SyncVectorEnv",
    "floor": "(e) matrix products alone",
    "packed floor": "    the same, weights packed",
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time the text environment against other ways to write with the same model."""

    llm: str = DEFAULT_LLM
    """The frozen LM, a Llama."""
    dtype: str = "bfloat16"
    """Its precision."""
    device: str = "cpu"
    """Where it runs; on `cuda` the batches default to 64 and 512."""
    batches: tuple[int, ...] = ()
    """Numbers B of rows; 1, 8, 32 and 64 by default."""
    new_tokens: tuple[int, ...] = (32, 128)
    """Numbers N of tokens to write."""
    prompt_tokens: int = 40
    """Tokens of every prompt."""
    rounds: int = 5
    """Rounds in which every contender runs once; the median counts."""
    seconds: float = 900.0
    """A combination of B and N that takes longer ends after fewer rounds, but not before two."""
    slow_steps: int = 3
    """Steps over which the slowest contenders are timed."""
    slow_rounds: int = 2
    """Rounds in which they run."""
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Text lengths at which a step is timed."""
    cpu_time: bool = False
    """Time of the process on the CPU instead of that on the wall: for a machine that others use,
    with OMP_NUM_THREADS=1."""
    quick: bool = False
    """Two rounds of 1 and 8 rows of 8 tokens, to see that it runs."""
    out: Path | None = None
    """JSON file for the results; by default throughput.json beside this file, unless something
    else is not the default."""


def rounds_of(
    contenders: dict[str, Contender], arguments: Arguments
) -> dict[str, dict[str, float | int]]:
    """Milliseconds per step of every contender: the median, and the number of rounds."""
    begun = time.perf_counter()
    for name, run in contenders.items():
        if name not in SLOW:
            run()  # what is done once is done by now
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(arguments.rounds):
        if index >= 2 and time.perf_counter() - begun > arguments.seconds:
            break
        for name, run in contenders.items():
            if name not in SLOW or index < arguments.slow_rounds:
                times[name].append(1e3 * run())
    return {
        name: {"ms_per_step": statistics.median(each), "rounds": len(each)}
        for name, each in times.items()
    }


def compare(task: Task, arguments: Arguments) -> dict[str, Any]:
    """All contenders on one task."""
    steps = min(arguments.slow_steps, task.new_tokens)
    contenders = {
        "env": environment(task, make_environment(task, critic=True)),
        "env without critic": environment(task, make_environment(task, critic=False)),
        "bare dynamic": bare(task, static=False),
        "bare static": bare(task, static=True),
        "generate": generate(task),
        "floor": floor(task, min(8, task.new_tokens), packed=False),
        "packed floor": floor(task, min(8, task.new_tokens), packed=True),
        "uncached": uncached(task, steps, last_only=False),
        "uncached, last position": uncached(task, steps, last_only=True),
        "one env per row": environment(task, one_environment_per_row(task), steps),
    }
    if arguments.device != "cpu":  # days, for hundreds of rows
        contenders = {name: run for name, run in contenders.items() if name not in SLOW}
    measured = rounds_of(contenders, arguments)
    for entry in measured.values():
        entry["tokens_per_s"] = 1e3 * task.rows / entry["ms_per_step"]
    own = measured["env"]["ms_per_step"]
    without = measured["env without critic"]["ms_per_step"]
    fastest = min(measured[name]["ms_per_step"] for name in ("bare dynamic", "bare static"))
    ratios = {"bare": fastest / own, "critic_share": 1 - without / own}
    for name in COMPARED:
        if name in measured:
            ratios[name] = measured[name]["ms_per_step"] / own
    return {
        "rows": task.rows,
        "new_tokens": task.new_tokens,
        "contenders": measured,
        "env_is_faster_by": ratios,
    }


def by_length(task: Task, arguments: Arguments) -> dict[int, float]:
    """Milliseconds per step of the environment at several text lengths."""
    tasks = [replace(task, prompt_tokens=length - 4, new_tokens=9) for length in arguments.lengths]
    runs = {
        str(one.prompt_tokens + 4): environment(one, make_environment(one, critic=True), 8)
        for one in tasks
    }
    measured = rounds_of(runs, replace(arguments, rounds=min(3, arguments.rounds)))
    return {int(length): float(entry["ms_per_step"]) for length, entry in measured.items()}


def memory(task: Task) -> dict[str, float]:
    """Bytes per row that the environment holds when its replies are nearly full."""
    envs = make_environment(task, critic=True)
    banned = sorted(task.llm.end_of_turn)
    observations, _ = envs.reset(seed=0)
    for _ in range(task.new_tokens - 1):
        observations, *_ = envs.step(best_allowed(observations["candidates"], banned))
    config = task.llm.model.config
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    position *= task.llm.dtype.itemsize
    held = held_bytes(envs) / task.rows
    live = (task.prompt_tokens + task.new_tokens - 1) * position
    return {"held": held, "live_keys_and_values": live, "ratio": held / live}


def throughput_table(results: Sequence[dict[str, Any]]) -> Table:
    """Tokens per second, one contender a line."""
    table = _table("tokens/s", [f"B={r['rows']}\nN={r['new_tokens']}" for r in results])
    for name, words in NAMES.items():
        cells = []
        for result in results:
            entry = result["contenders"].get(name)
            cells.append("" if entry is None else f"{entry['tokens_per_s']:,.1f}")
        table.add_row(words, *cells)
    return table


def ratio_table(results: Sequence[dict[str, Any]]) -> Table:
    """How many times as fast the environment is, and what its critic costs."""
    table = _table("environment is", [f"B={r['rows']}\nN={r['new_tokens']}" for r in results])
    for name in ("bare", *COMPARED):
        ratios = [result["env_is_faster_by"].get(name) for result in results]
        table.add_row(f"x {name}", *["" if ratio is None else f"{ratio:.2f}" for ratio in ratios])
    shares = [result["env_is_faster_by"]["critic_share"] for result in results]
    table.add_row("critic, share of a step", *[f"{share:.1%}" for share in shares])
    rounds = [result["contenders"]["env"]["rounds"] for result in results]
    table.add_row("rounds", *map(str, rounds))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def pairs_table(title: str, pairs: dict[str, str]) -> Table:
    """Two columns."""
    table = _table(title, [""])
    for name, value in pairs.items():
        table.add_row(name, value)
    return table


def main(arguments: Arguments) -> None:
    """Measures, prints tables and writes the JSON file."""
    out = arguments.out
    if out is None and arguments == Arguments():
        out = Path(__file__).parent / "throughput.json"
    if arguments.quick:
        arguments = replace(
            arguments, batches=(1, 8), new_tokens=(8,), rounds=2, slow_rounds=1, lengths=(64, 128)
        )
    console = Console(width=None if Console().is_terminal else 120)
    llm = load_llm(arguments.llm, dtype=arguments.dtype, device=arguments.device)
    base = Task(
        llm=llm,
        plain=plain_model(llm),
        critic=resolve_critic("default", llm),
        rows=1,
        prompt_tokens=arguments.prompt_tokens,
        new_tokens=arguments.new_tokens[0],
        cpu_time=arguments.cpu_time,
    )
    batches = arguments.batches or ((1, 8, 32, 64) if arguments.device == "cpu" else (64, 512))
    results: list[dict[str, Any]] = []
    for new_tokens in arguments.new_tokens:
        for rows in batches:
            console.print(f"B = {rows}, N = {new_tokens} ...", style="dim")
            task = replace(base, rows=rows, new_tokens=new_tokens)
            results.append(compare(task, arguments))
    several = replace(base, rows=min(32, max(batches)))
    lengths = by_length(replace(several, rows=min(8, several.rows)), arguments)
    held = memory(several)
    watched = make_environment(several, critic=False)
    shares = profile_steps(several, watched, several.new_tokens - 1)
    console.print(throughput_table(results))
    console.print(ratio_table(results))
    console.print(
        pairs_table(
            f"ms per step at B={min(8, several.rows)} by text length",
            {str(length): f"{each:.1f}" for length, each in lengths.items()},
        )
    )
    console.print(
        pairs_table(
            f"memory per row at B={several.rows}, text of {several.prompt_tokens} + "
            f"{several.new_tokens - 1} tokens",
            {
                "held": f"{held['held'] / 2**20:.3f} MiB",
                "keys and values of the text": f"{held['live_keys_and_values'] / 2**20:.3f} MiB",
                "ratio": f"{held['ratio']:.3f}",
            },
        )
    )
    console.print(
        pairs_table(
            f"time of a step at B={several.rows}, without critic",
            {group: f"{share:.1%}" for group, share in shares.items()},
        )
    )
    if not torch.cuda.is_available():
        console.print("no GPU here: B = 64 and 512 on one are skipped (--device cuda)")
    if out is not None:
        answer = {
            "arguments": {**asdict(replace(arguments, out=None)), "batches": batches},
            "threads": torch.get_num_threads(),
            "results": results,
            "ms_per_step_by_length": lengths,
            "memory_per_row": held,
            "profile": shares,
        }
        out.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
