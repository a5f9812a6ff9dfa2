"""Steered replies: paired draws, what the model itself finds of them, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from erm_gym.llm import FrozenLLM, LLMError, load_llm
from erm_gym.steering.generation import generate_steered

PROMPTS = ["Hi", "What is the weather like?"]


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def test_no_edit_and_an_edit_that_changes_nothing_write_the_same(llm: FrozenLLM) -> None:
    plain = generate_steered(llm, PROMPTS, {}, max_new_tokens=6)
    same = generate_steered(llm, PROMPTS, {2: lambda states: states * 1.0}, max_new_tokens=6)
    steered = generate_steered(llm, PROMPTS, {2: lambda states: states + 3.0}, max_new_tokens=6)
    assert plain == same
    assert plain != steered


def test_a_reply_depends_on_its_row_and_seed_alone(llm: FrozenLLM) -> None:
    both = generate_steered(llm, PROMPTS, {}, max_new_tokens=6)
    assert generate_steered(llm, PROMPTS[:1], {}, max_new_tokens=6)[0].tokens == both[0].tokens
    assert generate_steered(llm, PROMPTS, {}, max_new_tokens=6, seed=1) != both


def test_perplexity_is_that_of_the_unsteered_model(llm: FrozenLLM) -> None:
    edits = {2: lambda states: states + 1.0}
    [reply] = generate_steered(llm, PROMPTS[:1], edits, max_new_tokens=5)
    prompt = llm.encode_prompt(PROMPTS[0])
    logits, _ = llm.recompute([*prompt, *reply.tokens])
    logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    expected = logprobs.gather(1, torch.tensor(reply.tokens)[:, None])[:, 0]
    np.testing.assert_allclose(reply.logprobs, expected, atol=1e-3)
    assert reply.perplexity == pytest.approx(float(torch.exp(-expected.mean())), rel=1e-3)


def test_errors(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="temperature above 0"):
        generate_steered(llm, PROMPTS, {}, temperature=0.0)
    with pytest.raises(LLMError, match="shorten it"):
        generate_steered(llm, PROMPTS, {}, max_new_tokens=10_000)
    with pytest.raises(LLMError, match="lower its strength"):
        generate_steered(llm, PROMPTS, {2: lambda states: states * float("inf")})
    assert generate_steered(llm, [], {}) == []
