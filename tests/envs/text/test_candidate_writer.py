"""Candidates by hand: the end of the turn is always among them, and the nucleus masks the rest."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.envs.text import CandidateGenerationVectorEnv, CandidateOptions
from erm_gym.llm import FrozenLLM, SlotOutput
from tests.envs.text.conftest import content, equal_steps

LOGITS = {10: 5.0, 11: 4.0, 12: 3.0, 13: 2.0, 14: 1.0}
"""Of five tokens; every other one has logit -4, and the ends what a test gives them."""


def make(
    llm: FrozenLLM, ends: set[int], num_envs: int = 1, **options: Any
) -> CandidateGenerationVectorEnv:
    own = copy.copy(llm)
    own.end_of_turn = frozenset(ends)
    defaults = {"prompts": ["Hi"], "k": 4, "critic": None, "user": content, "max_new_tokens": 4}
    options = {**defaults, **options}
    return CandidateGenerationVectorEnv(num_envs, CandidateOptions(llm=own, **options))


def look(env: CandidateGenerationVectorEnv, *logits: dict[int, float]) -> dict[str, np.ndarray]:
    """What is observed of rows with these logits, and their log-probabilities under both."""
    dense = torch.full((len(logits), 259), -4.0)
    for row, own in enumerate(logits):
        for token, value in {**LOGITS, **own}.items():
            dense[row, token] = value
    nothing = torch.zeros(len(logits), 32)
    output = SlotOutput(
        logits=dense.clone(),
        hidden=nothing,
        last=nothing,
        pooled=nothing,
        states=torch.zeros(len(logits), 1, 0, 32),
        counts=torch.ones(len(logits), dtype=torch.int64),
    )
    env._writer.look(np.arange(len(logits)), output)
    temperature = env.options.prior_temperature
    return {
        **env._writer.observation,
        "own": env._writer.hidden_state["own_logprobs"],
        "expected": (dense / temperature).log_softmax(-1).numpy(),
        "expected_own": dense.log_softmax(-1).numpy(),
    }


@pytest.mark.parametrize(
    ("ends", "logits", "candidates"),
    [
        ({257}, {}, [10, 11, 12, 257]),  # far from likely: it takes the last place
        ({257}, {257: 6.0}, [257, 10, 11, 12]),
        ({257}, {257: 2.5}, [10, 11, 12, 257]),  # it is the last of the k by itself
        ({257}, {257: 3.5}, [10, 11, 257, 12]),
        ({256, 257}, {256: 0.5}, [10, 11, 12, 256]),  # the likeliest of several
        ({256, 257}, {257: 0.5}, [10, 11, 12, 257]),
        ({256, 257}, {257: 3.5}, [10, 11, 257, 12]),  # one is enough
        ({256, 257}, {257: 3.5, 256: 4.5}, [10, 256, 11, 257]),
        ({13}, {}, [10, 11, 12, 13]),
        (set(), {}, [10, 11, 12, 13]),  # a model that knows none
    ],
)
def test_an_end_of_turn_is_always_among_the_candidates(
    llm: FrozenLLM, ends: set[int], logits: dict[int, float], candidates: list[int]
) -> None:
    env = make(llm, ends, prior_temperature=0.5)
    seen = look(env, logits)
    assert seen["candidates"][0].tolist() == candidates
    np.testing.assert_allclose(
        seen["logprobs"][0], seen["expected"][0, candidates], atol=1e-5, rtol=1e-5
    )
    np.testing.assert_allclose(seen["own"][0], seen["expected_own"][0, candidates], atol=1e-5)
    assert seen["action_mask"].all()


def test_two_rows_are_looked_at_one_by_one(llm: FrozenLLM) -> None:
    env = make(llm, {257}, 2)
    seen = look(env, {257: 6.0}, {})
    assert seen["candidates"].tolist() == [[257, 10, 11, 12], [10, 11, 12, 257]]


@pytest.mark.parametrize(
    ("top_p", "probabilities", "end", "mask"),
    [
        (0.5, [0.4, 0.3, 0.1], 0.01, [1, 1, 0, 1]),  # .4 < .5, so that the second is in
        (0.39, [0.4, 0.3, 0.1], 0.01, [1, 0, 0, 1]),
        (0.72, [0.4, 0.3, 0.1], 0.01, [1, 1, 1, 1]),
        (1e-9, [0.4, 0.3, 0.1], 0.01, [1, 0, 0, 1]),  # the first one is always in
        (0.2, [0.35, 0.3, 0.05], 0.25, [1, 0, 1, 0]),  # the end is third, and always in
        (0.2, [0.2, 0.1, 0.05], 0.6, [1, 0, 0, 0]),
        (1.0, [0.4, 0.3, 0.1], 0.01, [1, 1, 1, 1]),
    ],
)
def test_the_nucleus_by_hand(
    llm: FrozenLLM, top_p: float, probabilities: list[float], end: float, mask: list[int]
) -> None:
    """Under the prior, at its temperature."""
    env = make(llm, {257}, top_p=top_p, prior_temperature=0.8)
    likely = {**dict(zip((10, 11, 12), probabilities, strict=True)), 257: end}
    rest = (1.0 - sum(likely.values())) / 255
    dense = {t: 0.8 * float(np.log(likely.get(t, rest))) for t in range(259)}
    seen = look(env, dense)
    assert seen["action_mask"][0].tolist() == mask


@pytest.mark.parametrize("seed", range(3))
def test_the_nucleus_of_the_model(llm: FrozenLLM, seed: int) -> None:
    env = make(llm, {257}, 3, top_p=0.4, k=8)
    left_out = 0
    observations, _ = env.reset(seed=seed)
    for step in range(4):
        for row in range(3):
            likely = np.exp(observations["logprobs"][row].astype(np.float64))
            expected = [sum(likely[:rank]) < 0.4 for rank in range(8)]
            for rank, token in enumerate(observations["candidates"][row]):
                expected[rank] |= bool(token == 257)
            assert observations["action_mask"][row].tolist() == expected
            assert expected[0]
            left_out += 8 - sum(expected)
        np.testing.assert_array_equal(env.action_masks(), observations["action_mask"] == 1)
        rng = np.random.default_rng([seed, step])
        actions = [rng.choice(np.flatnonzero(mask)) for mask in observations["action_mask"]]
        observations, *_ = env.step(np.array(actions))
    assert left_out > 8


def test_a_masked_action_is_named_and_changes_nothing(llm: FrozenLLM) -> None:
    env, twin = (make(llm, {257}, 2, top_p=0.3, k=6) for _ in range(2))
    observations, _ = env.reset(seed=0)
    twin.reset(seed=0)
    masked = int(np.flatnonzero(observations["action_mask"][1] == 0)[0])
    allowed = np.flatnonzero(observations["action_mask"][1]).tolist()
    for _ in range(2):
        message = rf"action {masked} of row 1 is masked: with top_p=0.3 .* are \[{allowed[0]}, "
        with pytest.raises(ValueError, match=message):
            env.step([0, masked])
    for _ in range(5):
        equal_steps(env.step([0, 0]), twin.step([0, 0]))
