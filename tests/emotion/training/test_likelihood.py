"""Likelihoods of replies under a bias: by hand, and against the whole distribution."""

from __future__ import annotations

import math

import pytest
import torch

from erm_gym.emotion.training import likelihood as module
from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.likelihood import LONGEST_REPLY, Figures, Likelihoods, Replies
from erm_gym.emotion.training.pairs import Pair
from erm_gym.emotion.training.progress import no_progress
from erm_gym.llm import FrozenLLM, LLMError, load_llm
from erm_gym.llm.tiny import build_tiny_model, build_tiny_tokenizer

MESSAGES = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Well?"},
]
PAIRS = [
    Pair(emotion="fear", prompt="Why?", chosen="no, no", rejected="Yes!"),
    Pair(emotion="fear", prompt="Why?", chosen="no, no", rejected="x"),  # read once
    Pair(emotion="anger", prompt=MESSAGES, chosen="x" * 100, rejected="Other words."),
]


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def test_by_hand() -> None:
    # Two words. The chosen reply is the first word alone, which had probability 1/2; the rejected
    # one is no word and the first word, which had probability 1/4 and 3/4 there.
    likelihoods = Likelihoods(
        own=torch.tensor([math.log(0.5), -1.0]),
        share=torch.tensor([[1.0, 0.0], [0.5, 0.0]]),
        probabilities=[torch.tensor([[0.5, 0.0]]), torch.tensor([[0.25, 0.0], [0.75, 0.25]])],
    )
    bias = torch.tensor([math.log(2.0), math.log(3.0)])
    change, kl = likelihoods.change(bias, torch.tensor([0, 1]))
    # Z = 1 + 1/2 = 3/2 after the first; 1 + 1/4 = 5/4 and 1 + 3/4 + 2/4 = 9/4 after the second
    changed = [math.log(2) - math.log(1.5), (math.log(2) - math.log(5 / 4) - math.log(9 / 4)) / 2]
    torch.testing.assert_close(change, torch.tensor(changed))
    # the biased probabilities are 2/3; 2/5; 6/9 and 3/9
    moved = [
        2 / 3 * math.log(2) - math.log(3 / 2),
        (
            2 / 5 * math.log(2)
            - math.log(5 / 4)
            + 6 / 9 * math.log(2)
            + 3 / 9 * math.log(3)
            - math.log(9 / 4)
        )
        / 2,
    ]
    torch.testing.assert_close(kl, torch.tensor(moved))
    figures = likelihoods.figures(torch.tensor([[0, 1]]), bias, 1.0)
    assert figures.margin == pytest.approx(math.log(0.5) + changed[0] + 1.0 - changed[1])
    assert figures.kl == pytest.approx(sum(moved) / 2)
    assert (figures.share_ahead, figures.share_gaining) == (1.0, 1.0)
    swapped = likelihoods.figures(torch.tensor([[1, 0], [0, 1]]), bias, 1.0)
    assert (swapped.margin, swapped.share_ahead, swapped.share_gaining) == (0.0, 0.5, 0.5)


def test_without_a_bias_nothing_moves(llm: FrozenLLM) -> None:
    replies = Replies(llm, PAIRS, no_progress)
    likelihoods, numbers = replies.likelihoods([[1, 2], [7]]), replies.numbers(PAIRS)
    change, kl = likelihoods.change(torch.zeros(2), numbers.flatten())
    assert not change.any() and not kl.any()
    own = likelihoods.own[numbers].double()
    margins = own[:, 0] - own[:, 1]
    assert likelihoods.figures(numbers, torch.zeros(2), 0.0) == Figures(
        level=0.0,
        margin=float(margins.mean()),
        share_ahead=float((margins > 0).double().mean()),
        share_gaining=0.0,
        kl=0.0,
    )


def test_equal_to_the_whole_distribution(llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POSITIONS_AT_ONCE", 5)
    monkeypatch.setattr(module, "TEXTS_PER_REPORT", 2)
    seen: list[tuple[str, int, int, str]] = []
    replies = Replies(llm, PAIRS, lambda *where: seen.append(where))
    assert [where[1:3] for where in seen] == [(2, 5), (4, 5), (5, 5)]
    numbers = replies.numbers(PAIRS)
    assert numbers.tolist() == [[0, 1], [0, 2], [3, 4]]
    groups = [llm.encode_text("no"), llm.encode_text("x")]
    bias = torch.tensor([1.5, -2.0])
    full = torch.zeros(llm.vocab_size)
    for group, value in zip(groups, bias, strict=True):
        full[group] = value
    likelihoods = replies.likelihoods(groups)
    change, kl = likelihoods.change(bias, numbers.flatten())
    texts = [(pair.prompt, text) for pair in PAIRS for text in (pair.chosen, pair.rejected)]
    for row, (prompt, text) in enumerate(texts):
        start, reply = llm.encode_prompt(prompt), llm.encode_text(text)[:LONGEST_REPLY]
        logits = llm.recompute(start + reply)[0][len(start) - 1 : -1].float()
        plain, biased = logits.log_softmax(-1), (logits + full).log_softmax(-1)
        written = torch.tensor(reply)[:, None]
        own = plain.gather(1, written).mean()
        torch.testing.assert_close(likelihoods.own[numbers.flatten()[row]], own)
        torch.testing.assert_close(own + change[row], biased.gather(1, written).mean())
        torch.testing.assert_close(kl[row], (biased.exp() * (biased - plain)).sum(-1).mean())


def test_a_prompt_without_room(llm: FrozenLLM) -> None:
    pair = Pair(emotion="fear", prompt="p" * 470, chosen="x" * 30, rejected="y")
    with pytest.raises(DataError, match=r"has 30 tokens behind a prompt of .* reads 1 to 512"):
        Replies(llm, [pair], no_progress)


def test_scaled_logits_are_an_error() -> None:
    model = build_tiny_model()
    llm = FrozenLLM(model, build_tiny_tokenizer(), name="scaled", source="test")

    def scale(module: object, inputs: object, output: dict[str, torch.Tensor]) -> object:
        output["logits"] = output["logits"] * 0.5
        return output

    model.register_forward_hook(scale)
    with pytest.raises(LLMError, match=r"scaled makes more of .* without scaled or capped"):
        Replies(llm, PAIRS, no_progress)
