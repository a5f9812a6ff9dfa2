"""Heads on a reply's hidden states: by hand, two equal paths, and files that do not fit."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.feedback import Episode, Feedback, Prompt, Turn, UserError
from erm_gym.feedback.conversation import messages_before
from erm_gym.feedback.heads import ReplyHead
from erm_gym.feedback.judge import pool_reply
from erm_gym.llm import FrozenLLM

AGAIN = "train one, please"


def head_of(llm: FrozenLLM, folder: Path | None = None, width: int = 0) -> ReplyHead:
    return ReplyHead.for_llm("taste", ("a", "b"), llm, width=width, folder=folder, again=AGAIN)


def converse(llm: FrozenLLM, *said_and_replied: str, hidden: bool = True) -> Episode:
    """The last reply of a conversation, with hidden states as an environment has them."""
    prompt, *rest = said_and_replied
    tokens, turns = llm.encode_prompt(prompt), ()
    said, end = prompt, min(llm.end_of_turn)
    while len(rest) > 1:
        reply, answer, *rest = rest
        turns += (Turn(said=said, reply=reply, feedback=Feedback(score=0.0, says=answer)),)
        tokens += [*llm.encode_text(reply), end, *llm.encode_next_turn(answer, end)]
        said = answer
    start = len(tokens)
    states = llm.recompute(tokens + llm.encode_text(rest[0]))[1][start:].numpy()
    return Episode(
        prompt=Prompt(text=prompt),
        reply=rest[0],
        hidden=states if hidden else None,
        llm_fingerprint=llm.fingerprint,
        turns=turns,
    )


TALKS = [("Hi", "Gladly."), ("Hi", "Hello there", "And now?", "Well, well"), ("Who?", "")]


def test_messages_of_a_conversation(llm: FrozenLLM) -> None:
    assert messages_before(converse(llm, "Hi", "Hello", "And now?", "Well")) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("width", [0, 5])
def test_outputs_by_hand(llm: FrozenLLM, width: int) -> None:
    head = head_of(llm, width=width)
    head.mean, head.std = torch.full_like(head.mean, 2.0), torch.full_like(head.std, 4.0)
    given = converse(llm, *TALKS[0])
    features = (pool_reply(torch.from_numpy(given.hidden)) - 2.0) / 4.0
    linear = [layer for layer in head.layers if isinstance(layer, torch.nn.Linear)]
    if width:
        features = (linear[0].weight @ features + linear[0].bias).clamp(min=0.0)
    expected = linear[-1].weight @ features + linear[-1].bias
    np.testing.assert_allclose(head.read([given])[0], expected.detach().numpy(), atol=1e-5)


def test_the_text_path_equals_the_hidden_state_path(llm: FrozenLLM) -> None:
    """In conversations, too: the reply is read behind all that was said before."""
    head = head_of(llm)
    from_states = head.read([converse(llm, *talk) for talk in TALKS])
    from_text = head.read([converse(llm, *talk, hidden=False) for talk in TALKS])
    np.testing.assert_allclose(from_states, from_text, atol=1e-4)
    assert np.ptp(from_states, axis=0).max() > 1e-2
    same_words = head.read([converse(llm, "Hi", TALKS[1][-1], hidden=False)])
    assert np.abs(same_words[0] - from_text[1]).max() > 1e-3  # what came before counts


def test_states_of_another_model_are_not_used(llm: FrozenLLM) -> None:
    head, right = head_of(llm), converse(llm, *TALKS[0])
    wrong = np.zeros_like(right.hidden)

    def changed(**changes: object) -> Episode:
        return Episode(**{**right.__dict__, **changes})

    expected = head.read([right])
    assert np.abs(head.read([changed(hidden=wrong)]) - expected).max() > 1e-3
    foreign = changed(hidden=wrong, llm_fingerprint="another model")
    np.testing.assert_allclose(head.read([foreign]), expected, atol=1e-4)


def test_untrained_heads_are_seeded(llm: FrozenLLM) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = head_of(llm), head_of(llm)
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.training
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


@pytest.mark.parametrize("width", [0, 5])
def test_saved_is_loaded(llm: FrozenLLM, tmp_path: Path, width: int) -> None:
    head = head_of(llm, width=width)
    head.mean += 0.5
    assert head.save(tmp_path / "new") == tmp_path / "new" / "taste.safetensors"
    loaded = head_of(llm, tmp_path / "new", width)
    assert not loaded.training
    given = [converse(llm, *talk) for talk in TALKS]
    np.testing.assert_array_equal(loaded.read(given), head.read(given))


def test_files_that_do_not_fit_are_named(llm: FrozenLLM, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'taste' cannot read its weights {tmp_path}.*{AGAIN}"):
        head_of(llm, tmp_path)
    stranger = copy.copy(llm)
    stranger.name = "stranger"
    with pytest.raises(UserError, match=f"'taste' cannot read.*{AGAIN}"):
        head_of(stranger)
    ReplyHead("taste", ("a", "c"), llm).save(tmp_path)
    with pytest.raises(UserError, match=f"holds no weights of the user 'taste'.*{AGAIN}"):
        head_of(llm, tmp_path)
    head_of(llm, width=3).save(tmp_path)
    with pytest.raises(UserError, match="holds no weights of the user 'taste'"):
        head_of(llm, tmp_path)


def test_a_head_of_another_model_is_refused(
    llm: FrozenLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_of(llm).save(tmp_path)
    monkeypatch.setattr(type(llm), "fingerprint", property(lambda self: "another-one"))
    with pytest.raises(
        UserError, match=rf"has weights for 'llama.*'tiny' is 'another-one'; {AGAIN}"
    ):
        head_of(llm, tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.99])
def test_a_truncated_file_is_named(llm: FrozenLLM, tmp_path: Path, keep: float) -> None:
    path = head_of(llm).save(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(UserError, match=f"'taste' cannot read its weights {path}"):
        head_of(llm, tmp_path)
