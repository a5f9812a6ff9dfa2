"""Replies in conversations: what came before them, and two equal ways to their hidden states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from erm_gym.feedback import Episode, Feedback, Prompt, StanceJudge, Turn
from erm_gym.feedback.episode_reading import messages_before, reply_states
from erm_gym.feedback.judge_head import LONGEST_JUDGED
from erm_gym.feedback.reading import LONGEST_REPLY
from erm_gym.llm import FrozenLLM


def converse(llm: FrozenLLM, prompt: str, *replies_and_answers: str) -> Episode:
    """The last reply of a conversation, with hidden states as an environment has them."""
    tokens, rest = llm.encode_prompt(prompt), list(replies_and_answers)
    turns: tuple[Turn, ...] = ()
    said, end = prompt, min(llm.end_of_turn)
    while len(rest) > 1:
        reply, answer, *rest = rest
        turns += (Turn(said=said, reply=reply, feedback=Feedback(score=0.0, says=answer)),)
        tokens += [*llm.encode_text(reply), end, *llm.encode_next_turn(answer, end)]
        said = answer
    states = llm.recompute(tokens + llm.encode_text(rest[0]))[1][len(tokens) :].numpy()
    return Episode(
        prompt=Prompt(text=prompt),
        reply=rest[0],
        hidden=states,
        llm_fingerprint=llm.fingerprint,
        turns=turns,
    )


def changed(episode: Episode, **changes: object) -> Episode:
    return Episode(**{**episode.__dict__, **changes})


@pytest.fixture(scope="module")
def episodes(llm: FrozenLLM) -> list[Episode]:
    return [
        converse(llm, "Hi", "Gladly."),
        converse(llm, "Hi", "Hello there", "And now?", "Well, well"),
        converse(llm, "Who?", ""),
        converse(llm, "Count", "Sure", "Well?", "1 2 3 4 5 6 7 8 9 " * 5),
    ]


def test_messages_of_a_conversation(episodes: list[Episode]) -> None:
    assert messages_before(episodes[0]) == [{"role": "user", "content": "Hi"}]
    assert messages_before(episodes[1]) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": "And now?"},
    ]
    silence = Turn(said="Hi", reply=" ", feedback=Feedback.silent())
    assert len(messages_before(changed(episodes[0], turns=(silence,)))) == 1


def test_text_gives_the_states_that_an_environment_keeps(
    llm: FrozenLLM, episodes: list[Episode]
) -> None:
    kept = reply_states(llm, episodes)
    read = reply_states(llm, [changed(episode, hidden=None) for episode in episodes])
    assert [len(own) for own in kept] == [7, 10, 0, LONGEST_REPLY]
    for own, other in zip(kept, read, strict=True):
        torch.testing.assert_close(own, other, atol=1e-3, rtol=1e-3)
    alone = changed(episodes[1], hidden=None, turns=())
    assert float((reply_states(llm, [alone])[0] - kept[1]).abs().max()) > 0.05  # turns count


def test_states_are_used_only_if_they_are_of_the_same_model(
    llm: FrozenLLM, episodes: list[Episode]
) -> None:
    wrong = changed(episodes[0], hidden=np.zeros((7, llm.hidden_size), np.float32))
    assert not reply_states(llm, [wrong])[0].any()
    foreign = changed(wrong, llm_fingerprint="another model")
    states = reply_states(llm, [wrong, foreign])  # one such episode sends the batch to the text
    for own in states:
        torch.testing.assert_close(own, torch.from_numpy(episodes[0].hidden), atol=1e-3, rtol=1e-3)


def test_the_judge_reads_a_conversation_from_its_text_as_from_its_states(
    llm: FrozenLLM, episodes: list[Episode]
) -> None:
    judge = StanceJudge.for_llm(llm)
    kept = judge.judge_episodes(episodes)
    texts = [changed(episode, hidden=None) for episode in episodes]
    np.testing.assert_allclose(judge.judge_episodes(texts), kept, atol=1e-4)
    alone = judge.judge_episodes([changed(texts[1], turns=())])
    assert np.abs(alone[0] - kept[1]).max() > 1e-3  # what was said before counts
    states = reply_states(llm, texts[3:], longest=LONGEST_JUDGED)
    assert LONGEST_REPLY < len(states[0]) <= LONGEST_JUDGED
