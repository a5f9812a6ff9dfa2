"""Plays every prompt of a split once with an agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from erm_gym.agents import Agent
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.recorder import EpisodeRecorder
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.feedback import PromptPool, User, load_prompts
from erm_gym.feedback.making import RewardFunction

__all__ = ["EpisodeRecord", "choose_prompts", "evaluate"]


def evaluate(
    agent: Agent,
    options: Mapping[str, Any],
    *,
    split: str = "test",
    num_envs: int = 32,
    seed: int = 0,
    deterministic: bool = False,
    limit: int | None = None,
    held_out_user: str | User | RewardFunction | None = None,
    progress: Callable[[int, int], None] | None = None,
    user_counts: Counter[str] | None = None,
) -> list[EpisodeRecord]:
    """Plays every prompt of a split once, in the order of the pool.

    Rows that are through with their prompts write on until all are, but no user is asked about it.
    The same arguments give the same records: choices are drawn from generators that are seeded
    here, and the state of torch's global one is put back. The critic does not learn, whatever
    `online_critic` says.

    Args:
        agent: Who writes; it does not learn.
        options: Keywords of the text environment, such as `TrainConfig.env_options()`.
        split: `train`, `validation`, `test` or `all`, and domains as `PromptPool.split` has them.
        num_envs: Replies that are written side by side, >= 1.
        seed: Seed of choices and user, >= 0.
        deterministic: Whether the agent takes its best choice instead of sampling.
        limit: Prompts, at most: whole contrast pairs from all over the split, the same for every
            agent and seed (with an odd limit, one pair is left incomplete).
        held_out_user: A second user that scores the same replies, as `make_user` takes it.
        progress: Called with finished and all episodes.
        user_counts: What the user counts while it is asked, such as requests and skipped episodes,
            is added to it; for most users that is nothing.

    Returns:
        One record per prompt.

    Raises:
        RunError: If `num_envs` or `limit` is below 1.
        UserError: If there is no such user, or one fails.
    """
    if num_envs < 1:
        raise RunError(f"num_envs must be at least 1, got {num_envs}")
    prompts = choose_prompts(load_prompts(options.get("prompts", "default")).split(split), limit)
    rows = min(num_envs, len(prompts))
    changes = {"prompts": prompts, "split": "all", "prompt_order": "sequential"}
    changes["online_critic"] = False
    envs = EpisodeRecorder(candidate_generation_vec(rows, **{**options, **changes}), held_out_user)
    if isinstance(agent, SamplingAgent):  # its generator is its own: take a fresh one
        agent = SamplingAgent(prior=agent.prior, uniform=agent.uniform, seed=seed, bias=agent.bias)
    device = envs.llm.device
    records: list[EpisodeRecord | None] = [None] * len(prompts)
    begun = list(range(rows))  # index of the prompt that each row is at
    done = 0
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            if progress is not None:
                progress(0, len(prompts))
            observations, _ = envs.reset(seed=seed)
            while done < len(prompts):
                actions, _ = agent.predict(observations, deterministic=deterministic)
                observations = envs.step(actions)[0]
                for row, record in envs.drain():
                    index, begun[row] = begun[row], begun[row] + rows
                    if begun[row] >= len(prompts):  # it begins from the first prompts again
                        envs.ignore(row)
                    if index < len(prompts):
                        records[index] = record
                        done += 1
                        if progress is not None:
                            progress(done, len(prompts))
        if user_counts is not None:
            user_counts.update(envs.user_counts())
    finally:
        envs.close()
    return [record for record in records if record is not None]


def choose_prompts(pool: PromptPool, limit: int | None) -> PromptPool:
    """Part of a pool, in its order: whole contrast pairs, drawn with a fixed seed.

    A smaller limit gives a part of what a larger one gives.

    Args:
        pool: The prompts.
        limit: How many, at most; None for all.

    Raises:
        RunError: If the limit is below 1.
    """
    if limit is None or limit >= len(pool):
        return pool
    if limit < 1:
        raise RunError(f"limit must be at least 1, got {limit}")
    pairs: dict[str, list[int]] = {}
    for index, prompt in enumerate(pool):
        pairs.setdefault(prompt.pair_id or f"alone-{index}", []).append(index)
    order = np.random.default_rng(0).permutation(len(pairs))
    groups = list(pairs.values())
    chosen = [index for group in order for index in groups[group]][:limit]
    return PromptPool(tuple(pool.prompts[index] for index in sorted(chosen)))
