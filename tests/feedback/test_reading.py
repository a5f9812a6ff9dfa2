from __future__ import annotations

import torch

from erm_gym.feedback.reading import LONGEST_REPLY, read_replies
from erm_gym.llm import FrozenLLM


def test_replies_are_read_after_their_prompts(llm: FrozenLLM) -> None:
    prompts, replies = ["Say", "Say more", "Say nothing"], ["yes", "x" * 100, ""]
    told: list[tuple[int, int]] = []
    read = read_replies(llm, prompts, replies, lambda *where: told.append(where))
    assert told == [(3, 3)]
    assert [len(reply) for _, reply in read] == [3, LONGEST_REPLY, 0]
    for prompt, reply, (about, own) in zip(prompts, replies, read, strict=True):
        start = llm.encode_prompt(prompt)
        tokens = start + llm.encode_text(reply)[:LONGEST_REPLY]
        expected = llm.recompute(tokens)[1]
        torch.testing.assert_close(
            about, expected[len(llm.template) : len(start)], atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(own, expected[len(start) :], atol=1e-3, rtol=1e-3)


def test_the_template_may_be_read_once_for_all(llm: FrozenLLM) -> None:
    prompts, replies = ["Say", "Say more"], ["yes", "x" * 100]
    each = read_replies(llm, prompts, replies, longest=80)
    once = read_replies(llm, prompts, replies, longest=80, template_once=True)
    for one, other in zip(each, once, strict=True):
        for expected, state in zip(one, other, strict=True):
            torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)
    assert [len(reply) for _, reply in once] == [3, 80]
