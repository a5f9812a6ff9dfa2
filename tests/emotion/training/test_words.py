"""Words that stand on one side of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from erm_gym.emotion.training.pairs import Pair
from erm_gym.emotion.training.words import forms, telling_words
from erm_gym.llm import FrozenLLM, load_llm

# One letter is one token of the tiny model, and a word of one letter is a word.


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


def pairs(*replies: tuple[str, str], prompts: Sequence[str] = "123456789") -> list[Pair]:
    return [
        Pair(emotion="fear", prompt=prompt, chosen=chosen, rejected=rejected)
        for prompt, (chosen, rejected) in zip(prompts, replies, strict=False)
    ]


def telling(llm: FrozenLLM, given: Sequence[Pair], min_prompts: int = 4) -> str:
    return "".join(llm.decode(tokens[-1:]) for tokens in telling_words(llm, given, min_prompts))


def test_forms(llm: FrozenLLM) -> None:
    assert [llm.decode([token]) for token in forms(llm, "q")] == ["Q", "q"]
    assert forms(llm, "maybe") == []  # more than one token


def test_forms_of_a_word_tokenizer(
    word_tokenizer: object, llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "tokenizer", word_tokenizer)
    written = {llm.tokenizer.decode([token]) for token in forms(llm, "perhaps")}
    assert written == {"perhaps", " perhaps", "Perhaps", " Perhaps"}


def test_a_word_must_stand_with_enough_prompts(llm: FrozenLLM) -> None:
    # 4 prompts are significant, 4 >= 1.96 * 2, and 3 are not, 3 < 1.96 * 1.73
    given = pairs(*[("q, w!", "z.")] * 3, ("Q", "z"))
    assert telling(llm, given) == "qz"
    assert telling(llm, given, min_prompts=5) == ""


def test_the_same_prompt_counts_once(llm: FrozenLLM) -> None:
    assert telling(llm, pairs(*[("q", "z")] * 9, prompts="111223333")) == ""


def test_what_stands_on_both_sides_is_left_out(llm: FrozenLLM) -> None:
    both = [("q w", "w z")] * 4
    assert telling(llm, pairs(*both)) == "qz"
    assert telling(llm, pairs(*both, ("z", "q"))) == ""  # 4 - 1 < 1.96 * 2.24
    assert telling(llm, pairs(*both, *both, ("z", "q"))) == "qz"  # 8 - 1 >= 1.96 * 3


@pytest.mark.parametrize(
    "text", ["a", "I", "7", "?", "'q", "q't", "qw", "q-w", "q7", "é", "<|im_end|>"]
)
def test_no_words(llm: FrozenLLM, text: str) -> None:
    assert telling(llm, pairs(*[(f"w {text} w", "z")] * 4)) == "wz"


def test_what_the_prompt_says_is_the_topic(llm: FrozenLLM) -> None:
    asked = [f"Why {number} q?" for number in range(4)]
    assert telling(llm, pairs(*[("q w", "z")] * 4, prompts=asked)) == "wz"
    said = [
        Pair(
            emotion="fear",
            prompt=[
                {"role": "user", "content": f"{number} W"},
                {"role": "assistant", "content": "z"},
                {"role": "user", "content": "so"},
            ],
            chosen="q w",
            rejected="z",
        )
        for number in range(4)
    ]
    assert telling(llm, said) == "q"
