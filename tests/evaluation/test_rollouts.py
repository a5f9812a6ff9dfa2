from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.agents import Agent, make_agent
from erm_gym.agents.prior_dqn import PriorDQN
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.evaluation import RunError, evaluate
from erm_gym.evaluation.rollouts import choose_prompts
from erm_gym.feedback import Prompt, PromptPool, load_prompts
from erm_gym.llm import FrozenLLM

POOL = PromptPool(
    tuple(
        Prompt(text=f"Question {i}?", prompt_id=f"p{i}", pair_id=f"pair{i // 2}", split="test")
        for i in range(10)
    )
)
OPTIONS: dict[str, Any] = {"llm": "tiny", "prompts": POOL, "max_new_tokens": 5}


def agent(name: str, **options: Any) -> Agent:
    return make_agent(name, candidate_generation_vec(1, **{**OPTIONS, "split": "all", **options}))


@pytest.fixture(scope="module")
def frozen() -> Iterator[Agent]:
    yield agent("frozen")


@pytest.mark.parametrize("rows", [1, 3, 10, 32])
def test_every_prompt_is_played_once_and_in_order(frozen: Agent, rows: int) -> None:
    seen: list[tuple[int, int]] = []
    records = evaluate(
        frozen, OPTIONS, num_envs=rows, progress=lambda done, total: seen.append((done, total))
    )
    assert [record.prompt_id for record in records] == [f"p{i}" for i in range(10)]
    assert seen == [(done, 10) for done in range(11)]


@pytest.mark.parametrize("name", ["frozen", "random", "ppo", "dqn"])
def test_the_same_seed_gives_the_same_records(name: str) -> None:
    player = agent(name)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = evaluate(player, OPTIONS, num_envs=4, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert evaluate(player, OPTIONS, num_envs=4, seed=3) == first
    greedy = isinstance(player, PriorDQN)  # exploring is for learning, so the seed is not used
    assert (evaluate(player, OPTIONS, num_envs=4, seed=4) == first) is greedy


def test_a_deterministic_agent_writes_what_the_model_finds_likeliest(
    frozen: Agent, tiny: FrozenLLM
) -> None:
    records = evaluate(frozen, OPTIONS, num_envs=3, deterministic=True)
    for record in records:
        prompt = tiny.encode_prompt(record.prompt)
        tokens: list[int] = []
        logprobs = []
        while len(tokens) < 5 and not tiny.end_of_turn & set(tokens):
            logits, _ = tiny.recompute([*prompt, *tokens])
            scores = logits[-1].float().log_softmax(dim=-1)
            tokens.append(int(scores.argmax()))
            logprobs.append(float(scores.max()))
        assert record.steps == len(tokens)
        assert record.reply == tiny.decode(tokens)
        assert record.logprob == pytest.approx(np.mean(logprobs), abs=1e-4)


def test_a_user_of_ones_own_states_no_stance(frozen: Agent) -> None:
    def user(prompt: str, reply: str) -> float:
        return 1.0 if "3" in prompt else -0.5

    records = evaluate(frozen, {**OPTIONS, "user": user}, num_envs=4)
    assert [record.score for record in records] == [-0.5] * 3 + [1.0] + [-0.5] * 6
    assert {record.stance for record in records} == {""}
    assert {len(record.components) for record in records} == {0}


def test_without_a_critic_there_is_no_fear() -> None:
    records = evaluate(agent("frozen", critic=None), {**OPTIONS, "critic": None}, limit=2)
    assert [record.fear for record in records] == [[], []]


def test_splits_are_those_of_the_pool(frozen: Agent) -> None:
    options = {"llm": "tiny", "max_new_tokens": 2}
    records = evaluate(frozen, options, split="validation", limit=4)
    names = [prompt.prompt_id for prompt in load_prompts("default").split("validation")]
    assert [record.prompt_id for record in records] == [
        name for name in names if name in {record.prompt_id for record in records}
    ]
    assert len(records) == 4


def test_a_limit_takes_whole_pairs_and_a_smaller_one_takes_some_of_them() -> None:
    four, six = choose_prompts(POOL, 4), choose_prompts(POOL, 6)
    for chosen in (four, six):
        pairs = [prompt.pair_id for prompt in chosen]
        assert all(pairs.count(pair) == 2 for pair in pairs)
    assert len(four) == 4
    assert set(four) < set(six)
    assert list(four) == [prompt for prompt in POOL if prompt in set(four)]
    assert choose_prompts(POOL, 4) == four
    assert choose_prompts(POOL, None) is choose_prompts(POOL, 99) is POOL
    assert len(choose_prompts(POOL, 3)) == 3


def test_a_limit_is_balanced_and_from_all_over_the_split() -> None:
    chosen = choose_prompts(load_prompts("default").split("test"), 40)
    assert sum(prompt.risky for prompt in chosen) == 20
    assert len({prompt.domain for prompt in chosen}) > 4


@pytest.mark.parametrize("changes", [{"num_envs": 0}, {"limit": 0}])
def test_numbers_below_one_are_refused(frozen: Agent, changes: dict[str, int]) -> None:
    with pytest.raises(RunError, match=f"{next(iter(changes))} must be at least 1"):
        evaluate(frozen, OPTIONS, **changes)  # type: ignore[arg-type]
