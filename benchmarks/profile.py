"""Where the time of an environment's step goes."""

from __future__ import annotations

import time

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from benchmarks.contenders import Task, best_allowed

GROUPS = {
    "matrix products": (
        "_linear_pointwise",
        "aten::mm",
        "aten::addmm",
        "aten::bmm",
        "aten::linear",
    ),
    "attention": ("attention",),
    "cache writes": ("index_put", "index_copy", "scatter"),
    "vocabulary: likeliest, normalisers": (
        "topk",
        "sort",
        "gather",
        "amax",
        "aten::exp",
        "aten::sum",
        "aten::log_",
        "aten::div_",
    ),
}
"""Parts of the names of torch operations, by what they are for; all others are elementwise."""


def profile_steps(task: Task, envs: VectorEnv, steps: int) -> dict[str, float]:
    """Share of a step's time by group, in [0, 1].

    Args:
        task: What is written.
        envs: An environment without a critic.
        steps: Steps to watch, below the number after which an episode ends.
    """
    banned = sorted(task.llm.end_of_turn)
    observations, _ = envs.reset(seed=0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            ranks: np.ndarray = best_allowed(observations["candidates"], banned)
            observations, *_ = envs.step(ranks)
        whole = 1e6 * (time.perf_counter() - start)  # microseconds, as the profiler's
    shares = dict.fromkeys((*GROUPS, "elementwise, copies, norms"), 0.0)
    for event in profiler.key_averages():
        group = next(
            (group for group, names in GROUPS.items() if any(name in event.key for name in names)),
            "elementwise, copies, norms",
        )
        shares[group] += event.self_cpu_time_total / whole
    shares["Python and the rest"] = max(0.0, 1.0 - sum(shares.values()))
    return shares
