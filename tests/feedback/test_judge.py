"""The stance judge: features, loops, two equal paths, and files that do not fit."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.feedback import STANCES, Episode, JudgeError, Prompt, StanceJudge
from erm_gym.feedback.judge import (
    WEIGHTS,
    is_loop,
    pool_reply,
    read_labelled_replies,
)
from erm_gym.feedback.reading import LONGEST_REPLY
from erm_gym.llm import FrozenLLM

PROMPTS = ["Hi", "Please help me with this", "Who?"]
REPLIES = ["Of course, gladly.", "I am sorry, I can not", "me"]


@pytest.fixture
def judge(llm: FrozenLLM) -> StanceJudge:
    return StanceJudge.for_llm(llm)


def episode(llm: FrozenLLM, prompt: str, reply: str, hidden: bool = True) -> Episode:
    start, end = llm.encode_prompt(prompt), llm.encode_text(reply)
    states = llm.recompute(start + end)[1][len(start) :].numpy()
    return Episode(
        prompt=Prompt(text=prompt),
        reply=reply,
        hidden=states if hidden else None,
        llm_fingerprint=llm.fingerprint,
    )


@pytest.mark.parametrize(
    ("reply", "loop"),
    [
        ("no no no", False),
        ("no no no no", True),
        ("No no NO no thanks", True),
        ("no yes no yes no yes no yes", False),  # the trigrams occur three times each
        ("no yes no yes no yes no yes no yes", True),
        ("I am sorry. " * 3, False),
        ("I am sorry. " * 4, True),
        ("so I said so and so it was so and so", False),
        ("one two three four", False),
        ("word", False),
        ("", False),
    ],
)
def test_loops(reply: str, loop: bool) -> None:
    assert is_loop(reply) is loop


@pytest.mark.parametrize("reply", ["no no no no", "", "  \n", "I am sorry. " * 5])
def test_loops_and_silence_are_degenerate_on_both_paths(
    llm: FrozenLLM, judge: StanceJudge, reply: str
) -> None:
    expected = np.array([[0.0, 0.0, 0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(judge.judge(["Hi"], [reply]), expected)
    np.testing.assert_array_equal(judge.judge_episodes([episode(llm, "Hi", reply)]), expected)


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, -2.0]])
    assert pool_reply(hidden).tolist() == [3.0, 2.0, 5.0, -2.0]
    assert pool_reply(hidden[:0]).tolist() == [0.0] * 4
    long = torch.arange(2.0 * LONGEST_REPLY)[:, None]
    assert pool_reply(long).tolist() == [(LONGEST_REPLY - 1) / 2, LONGEST_REPLY - 1]
    assert pool_reply(hidden.to(torch.bfloat16)).dtype == torch.float32


def test_logits_by_hand(judge: StanceJudge) -> None:
    judge.mean = torch.full_like(judge.mean, 2.0)
    judge.std = torch.full_like(judge.std, 4.0)
    features = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    first, last = judge.head[1], judge.head[4]
    assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    hidden = ((features - 2.0) / 4.0) @ first.weight.T + first.bias
    expected = hidden.clamp(min=0.0) @ last.weight.T + last.bias
    torch.testing.assert_close(judge(features), expected)


def test_probabilities(judge: StanceJudge) -> None:
    probabilities = judge.judge(PROMPTS, REPLIES)
    assert probabilities.shape == (3, len(STANCES)) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # it does read
    alone = judge.judge(PROMPTS[:1], REPLIES[:1])
    np.testing.assert_allclose(alone[0], probabilities[0], atol=1e-5)


def test_the_text_path_equals_the_hidden_state_path(llm: FrozenLLM, judge: StanceJudge) -> None:
    replies = [*REPLIES[:2], "A long reply: " + " ".join(str(n) for n in range(40))]
    assert len(llm.encode_text(replies[-1])) > LONGEST_REPLY
    episodes = [episode(llm, *pair) for pair in zip(PROMPTS, replies, strict=True)]
    np.testing.assert_allclose(
        judge.judge_episodes(episodes), judge.judge(PROMPTS, replies), atol=1e-5
    )


def test_hidden_states_are_used_only_if_they_are_of_the_same_model(
    llm: FrozenLLM, judge: StanceJudge
) -> None:
    right = episode(llm, "Hi", "Gladly.")
    expected = judge.judge(["Hi"], ["Gladly."])

    def changed(**changes: object) -> Episode:
        return Episode(**{**right.__dict__, **changes})

    wrong = np.zeros((7, 32), np.float32)
    trusted = judge.judge_episodes([changed(hidden=wrong)])
    assert not np.allclose(trusted, expected, atol=1e-3)
    foreign = changed(hidden=wrong, llm_fingerprint="another model")
    for doubtful in (foreign, changed(hidden=None)):
        np.testing.assert_allclose(judge.judge_episodes([doubtful]), expected, atol=1e-5)
        # One such episode sends the whole batch through the text path.
        np.testing.assert_allclose(
            judge.judge_episodes([right, doubtful]), np.repeat(expected, 2, 0), atol=1e-5
        )


def test_the_untrained_judge_is_seeded_and_leaves_global_randomness_alone(llm: FrozenLLM) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = StanceJudge.for_llm(llm), StanceJudge.for_llm(llm)
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.training
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_a_judge_without_a_model_says_so(llm: FrozenLLM) -> None:
    with pytest.raises(JudgeError, match=r"make it with StanceJudge\.for_llm"):
        StanceJudge(llm.hidden_size, llm.fingerprint).judge(["Hi"], ["Hello"])


# -- files -----------------------------------------------------------------------------------------


def test_saved_is_loaded(llm: FrozenLLM, judge: StanceJudge, tmp_path: Path) -> None:
    judge.mean += 0.5
    judge.std *= 2.0
    judge.save(tmp_path / "weights" / WEIGHTS)
    loaded = StanceJudge.for_llm(llm, tmp_path / "weights")
    assert not loaded.training
    assert loaded.state_dict().keys() == judge.state_dict().keys()
    for key, value in judge.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    np.testing.assert_array_equal(loaded.judge(PROMPTS, REPLIES), judge.judge(PROMPTS, REPLIES))


def test_a_judge_of_another_model_is_refused(llm: FrozenLLM, tmp_path: Path) -> None:
    StanceJudge(llm.hidden_size, "another-model").save(tmp_path / WEIGHTS)
    with pytest.raises(JudgeError, match=f"'another-model', but the LM 'tiny'.*{llm.fingerprint}"):
        StanceJudge.for_llm(llm, tmp_path)


def test_a_model_without_a_judge_is_told_so(llm: FrozenLLM, tmp_path: Path) -> None:
    stranger = copy.copy(llm)
    stranger.name = "stranger"
    with pytest.raises(JudgeError, match=r"stance_judge\.safetensors|'stranger'"):
        StanceJudge.for_llm(stranger)
    with pytest.raises(JudgeError, match="cannot read the stance judge's weights"):
        StanceJudge.for_llm(llm, tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 40, 0.5, 0.99])
def test_a_truncated_file_is_named(
    llm: FrozenLLM, judge: StanceJudge, tmp_path: Path, keep: float
) -> None:
    path = tmp_path / WEIGHTS
    judge.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(JudgeError, match=f"cannot read the stance judge's weights {path}"):
        StanceJudge.for_llm(llm, tmp_path)


def test_a_file_with_other_tensors_is_named(llm: FrozenLLM, tmp_path: Path) -> None:
    """Of the right model by its fingerprint, but of another size."""
    StanceJudge(llm.hidden_size // 2, llm.fingerprint).save(tmp_path / WEIGHTS)
    with pytest.raises(JudgeError, match=WEIGHTS):
        StanceJudge.for_llm(llm, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2"),
        ('{"prompt": "a", "reply": "b", "split": "train"}', "line 2: 'stance'"),
        ('{"prompt": "a", "reply": "b", "stance": "rude", "split": "train"}', "line 2.*'rude'"),
        ('["a list"]', "line 2"),
    ],
)
def test_a_bad_labelled_reply_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "replies.jsonl"
    good = '{"prompt": "a", "reply": "b", "stance": "comply", "split": "train", "source": ""}'
    path.write_text(f"{good}\n", encoding="utf-8")
    assert read_labelled_replies(path)[0]["stance"] == "comply"
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(JudgeError, match=f"{path.name}, {message}"):
        read_labelled_replies(path)
