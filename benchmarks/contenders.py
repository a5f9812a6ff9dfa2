"""Ways of writing N tokens in B rows with one model; each times its decode steps alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from transformers import AutoModelForCausalLM, Cache, DynamicCache, StaticCache

from erm_gym.emotion import EmotionalCritic
from erm_gym.llm import FrozenLLM
from erm_gym.llm.packed import PackedLinear, can_pack

ENVIRONMENT = "erm_gym:ErmGym/CandidateGeneration-v0"

Contender = Callable[[], float]
"""Runs once, and returns the mean seconds of one step, in which every row gets one token."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all contenders do."""

    llm: FrozenLLM
    """The model of the environments."""
    plain: Any
    """The same model as transformers has it, its weights untouched: for all others."""
    critic: EmotionalCritic
    """The critic of the environment."""
    rows: int
    """Number B of texts."""
    prompt_tokens: int
    """Tokens of every prompt."""
    new_tokens: int
    """Number N of tokens to write after the prompt."""
    cpu_time: bool = False
    """Whether time is that of the process on the CPU, and not that on the wall."""

    def prompts(self) -> list[str]:
        """B different prompts, all of the same number of tokens."""
        spare = self.prompt_tokens - len(self.llm.encode_prompt("000"))
        if spare < 0:
            raise ValueError(f"prompts need at least {self.prompt_tokens - spare} tokens")
        texts = [f"{row:03d}" + " a" * spare for row in range(self.rows)]
        assert {len(self.llm.encode_prompt(text)) for text in texts} == {self.prompt_tokens}
        return texts

    def ids(self) -> torch.Tensor:
        """Their token ids, `[B, T]`."""
        encoded = [self.llm.encode_prompt(text) for text in self.prompts()]
        return torch.tensor(encoded, device=self.llm.device)

    def clock(self) -> float:
        """Seconds, after all that the device was told to do is done."""
        if self.llm.device.type == "cuda":
            torch.cuda.synchronize(self.llm.device)
        return time.process_time() if self.cpu_time else time.perf_counter()


def best_allowed(candidates: np.ndarray, banned: Sequence[int]) -> np.ndarray:
    """Rank `[B]` of the best_allowed candidate, `[B, k]`, that does not end the turn."""
    return np.isin(candidates, banned).argmin(axis=1)


def make_environment(task: Task, *, critic: bool) -> VectorEnv:
    """B rows that step together."""
    return gym.make_vec(ENVIRONMENT, num_envs=task.rows, **_options(task, critic=critic))


def one_environment_per_row(task: Task) -> VectorEnv:
    """B environments of one row each."""
    options = {**_options(task, critic=True), "disable_env_checker": True}
    return SyncVectorEnv([lambda: gym.make(ENVIRONMENT, **options)] * task.rows)


def _options(task: Task, *, critic: bool) -> dict[str, Any]:
    return {
        "llm": task.llm,
        "user": lambda prompt, reply: 0.0,
        "critic": task.critic if critic else None,
        "max_new_tokens": task.new_tokens,
        "prompts": task.prompts(),
        "prompt_order": "sequential",
    }


def environment(task: Task, envs: VectorEnv, steps: int | None = None) -> Contender:
    """An environment, acted in greedily; N steps or fewer.

    The last of N steps asks the user and begins the next episodes, from prompts seen before.
    """
    banned = sorted(task.llm.end_of_turn)
    count = task.new_tokens if steps is None else steps

    def run() -> float:
        observations, _ = envs.reset(seed=0)
        start = task.clock()
        for _ in range(count):
            observations, *_ = envs.step(best_allowed(observations["candidates"], banned))
        return (task.clock() - start) / count

    return run


def _read(task: Task, cache: Cache, ids: torch.Tensor) -> torch.Tensor:
    """The model's last hidden states `[B, t, d]`, without the head.

    Asked for the logits of a long text's last position, `logits_to_keep=1`, transformers gives the
    head a slice of three dimensions, for which torch on a CPU copies the head once per row.
    """
    hidden: torch.Tensor = task.plain.model(ids, past_key_values=cache).last_hidden_state
    return hidden


def bare(task: Task, *, static: bool) -> Contender:
    """The model's own forward in a loop, with a KV cache of transformers and greedy choice."""
    model = task.plain
    ids = task.ids()

    @torch.no_grad()
    def run() -> float:
        length = task.prompt_tokens + task.new_tokens
        cache: Cache = (
            StaticCache(config=model.config, max_cache_len=length)
            if static
            else DynamicCache(config=model.config)
        )
        token = model.lm_head(_read(task, cache, ids)[:, -1]).argmax(dim=-1, keepdim=True)  # [B, 1]
        start = task.clock()
        for _ in range(task.new_tokens):
            logits = model(token, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            token = logits.argmax(dim=-1)
        return (task.clock() - start) / task.new_tokens

    return run


def generate(task: Task) -> Contender:
    """`model.generate` with sampling, on a cache that has all of the prompt but its last token."""
    model = task.plain
    ids = task.ids()

    @torch.no_grad()
    def run() -> float:
        cache = DynamicCache(config=model.config)
        _read(task, cache, ids[:, :-1])
        start = task.clock()
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            do_sample=True,
            min_new_tokens=task.new_tokens,
            max_new_tokens=task.new_tokens,
            pad_token_id=0,
        )
        return (task.clock() - start) / task.new_tokens

    return run


def uncached(task: Task, samples: int, *, last_only: bool) -> Contender:
    """The whole text anew for every token, timed at some lengths that are evenly spaced.

    Args:
        task: What is written.
        samples: How many lengths.
        last_only: Whether the head reads the last position only, instead of all of them as the
            loop of the project's seed document does.
    """
    model = task.plain
    ids = task.ids()
    count = min(samples, task.new_tokens)
    extra = [round((i + 0.5) * task.new_tokens / count) for i in range(count)]
    texts = [torch.cat((ids, ids.new_ones(len(ids), more)), dim=1) for more in extra]

    @torch.no_grad()
    def run() -> float:
        start = task.clock()
        for text in texts:
            hidden = model.model(text, use_cache=False).last_hidden_state
            if last_only:
                model.lm_head(hidden[:, -1]).argmax(dim=-1)  # see `_read`
            else:
                model.lm_head(hidden)[:, -1].argmax(dim=-1)
        return (task.clock() - start) / count

    return run


def floor(task: Task, steps: int, *, packed: bool) -> Contender:
    """Nothing but the matrix products of a step; packed, with weights laid out as the env's are."""
    model = task.plain
    linears: list[Any] = []
    for block in model.model.layers:
        attention, mlp = block.self_attn, block.mlp
        linears += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        linears += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    if packed:
        linears = [PackedLinear(linear) if can_pack(linear) else linear for linear in linears]
    linears.append(model.lm_head)
    widths = {linear.in_features for linear in linears}
    inputs = {width: torch.randn(task.rows, width).to(model.lm_head.weight) for width in widths}

    @torch.no_grad()
    def run() -> float:
        start = task.clock()
        for _ in range(steps):
            for linear in linears:
                linear(inputs[linear.in_features])
        return (task.clock() - start) / steps

    return run


def plain_model(llm: FrozenLLM) -> Any:
    """A copy of an LM's model as transformers makes it."""
    model: Any = AutoModelForCausalLM.from_config(llm.model.config, dtype=llm.dtype)
    model.load_state_dict(llm.model.state_dict())
    model.generation_config = llm.model.generation_config
    return model.to(llm.device).requires_grad_(False).eval()
