"""Words that tell the chosen replies of pairs from the rejected ones."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from erm_gym.emotion.categories import FUNCTION_WORDS
from erm_gym.emotion.training.likelihood import LONGEST_REPLY
from erm_gym.emotion.training.pairs import Pair
from erm_gym.llm import FrozenLLM

SIGNIFICANT = 1.96
"""Standard errors by which a word must stand on one side more often than on the other."""
LETTERS = r"[^\W\d_]+"
JOINTS = frozenset({"'", "\u2019", "-", "_"})
"""Characters that tie a token to its neighbour: "don" in "don't" is no word."""


def telling_words(llm: FrozenLLM, pairs: Sequence[Pair], min_prompts: int) -> list[list[int]]:
    """Tokens of the words that stand in chosen replies or in rejected ones, but not in both alike.

    A word counts once per prompt, and only where it is one token by itself, so that no part of a
    word is ever learned. What a reply repeats from its prompt is the topic and does not count. A
    sign test at 5% then leaves out what stands on both sides: of n prompts with the word in the
    replies of one side only, the sides must differ by 1.96 sqrt(n). Function words, punctuation,
    digits and special tokens are no words.

    Args:
        llm: The frozen LM; its tokenizer must tell where in a text its tokens are.
        pairs: Pairs of replies.
        min_prompts: With how many different prompts a word must stand, at least 1.

    Returns:
        For each word, in alphabetical order, the tokens that are this word: in lower case and
        capitalised, with and without a leading space.

    Source: our own; the test is McNemar's 1947, without correction.
    """
    sides: dict[str, tuple[set[str], set[str]]] = {}
    for pair in pairs:
        asked = _prompt_text(pair)
        topic = set(re.findall(LETTERS, asked.lower()))
        chosen, rejected = sides.setdefault(asked, (set(), set()))
        chosen |= _words(llm, pair.chosen) - topic
        rejected |= _words(llm, pair.rejected) - topic
    everywhere, for_it, against = Counter[str](), Counter[str](), Counter[str]()
    for chosen, rejected in sides.values():
        everywhere.update(chosen | rejected)
        for_it.update(chosen - rejected)
        against.update(rejected - chosen)
    telling = (
        forms(llm, word)
        for word, count in sorted(everywhere.items())
        if count >= min_prompts and _differ(for_it[word], against[word])
    )
    return [tokens for tokens in telling if tokens]


def forms(llm: FrozenLLM, word: str) -> list[int]:
    """Tokens that are a word by themselves, however it is written; sorted.

    Args:
        llm: The frozen LM whose tokens they are.
        word: In lower case.
    """
    texts = [text for form in (word, word.capitalize()) for text in (form, f" {form}")]
    encoded = [llm.encode_text(text) for text in texts]
    # Reading it back excludes an unknown-word token and anything normalised away.
    found = {own[0] for own in encoded if len(own) == 1 and written(llm, own[0]) == word}
    return sorted(found)


def written(llm: FrozenLLM, token: int) -> str:
    """The word that a token is, in lower case."""
    return llm.decode([token]).strip().lower()


def _prompt_text(pair: Pair) -> str:
    if isinstance(pair.prompt, str):
        return pair.prompt
    return "\n".join(message["content"] for message in pair.prompt)


def _words(llm: FrozenLLM, text: str) -> set[str]:
    encoded = llm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    found = set()
    for start, end in encoded["offset_mapping"][:LONGEST_REPLY]:
        word = text[start:end].strip()
        begins = text[start:end] != text[start:end].lstrip() or not _joined(text[:start][-1:])
        if word.isalpha() and begins and not _joined(text[end : end + 1]):
            found.add(word.lower())
    return found - FUNCTION_WORDS


def _joined(character: str) -> bool:
    return character.isalnum() or character in JOINTS


def _differ(count: int, other: int) -> bool:
    return abs(count - other) >= SIGNIFICANT * math.sqrt(max(count + other, 1))
