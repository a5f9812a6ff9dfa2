from __future__ import annotations

import pytest
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


def test_several_layers_are_read_at_once(llm: FrozenLLM) -> None:
    prompts, replies = ["Say", "Say more"], ["yes", ""]
    for once in (False, True):
        read = read_replies(llm, prompts, replies, layers=(1, 3), template_once=once)
        for prompt, reply, (about, own) in zip(prompts, replies, read, strict=True):
            start = llm.encode_prompt(prompt)
            ids = torch.tensor([start + llm.encode_text(reply)])
            hidden = llm.model(input_ids=ids, output_hidden_states=True).hidden_states
            expected = torch.stack([hidden[1][0], hidden[3][0]], 1)  # [T, K, d]
            assert about.shape[1:] == own.shape[1:] == (2, llm.hidden_size)
            torch.testing.assert_close(
                about, expected[len(llm.template) : len(start)], atol=1e-3, rtol=1e-3
            )
            torch.testing.assert_close(own, expected[len(start) :], atol=1e-3, rtol=1e-3)


def test_without_a_common_beginning_all_is_read(
    llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_replies(llm, ["Say"], ["yes"])[0][1]
    other = tuple(token + 1 for token in llm.template)
    monkeypatch.setattr(type(llm), "template", other)
    read = read_replies(llm, ["Say"], ["yes"], template_once=True)[0][1]
    torch.testing.assert_close(read, expected)
