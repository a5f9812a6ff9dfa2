"""Token categories: which tokens of a vocabulary express caution, exploration, alternatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CATEGORIES = ("cautious", "exploratory", "alternative")
"""Names of the token categories."""

PHRASES: dict[str, tuple[str, ...]] = {
    "cautious": (
        # the seed's phrases
        "caution",
        "careful",
        "uncertain",
        "might",
        "perhaps",
        "I'm not sure",
        "be careful",
        "consider",
        "potential risk",
        "it depends",
        # our own
        "sorry",
        "apologize",
        "unfortunately",
        "cannot",
        "can't",
        "unable",
        "unsure",
        "refuse",
        "decline",
        "avoid",
        "carefully",
        "cautious",
        "warning",
        "warn",
        "risks",
        "risky",
        "danger",
        "dangerous",
        "hazard",
        "hazardous",
        "harm",
        "harmful",
        "unsafe",
        "illegal",
        "unethical",
        "inappropriate",
        "consult",
        "professional",
        "advise",
        "emergency",
    ),
    "exploratory": (
        # the seed's phrases
        "interesting",
        "curious",
        "explore",
        "what if",
        "imagine",
        "fascinating",
        "wonder",
        "could you tell me more",
        "let's dive deeper",
        "that's intriguing",
        # our own
        "curiosity",
        "discover",
        "investigate",
        "experiment",
        "suppose",
        "surprising",
        "intrigued",
    ),
    "alternative": (
        # the seed's "however" and "alternatively", which answer to anger
        "however",
        "alternatively",
        # our own
        "alternative",
        "alternatives",
        "instead",
        "otherwise",
        "rather",
        "although",
        "nevertheless",
        "nonetheless",
        "conversely",
        "whereas",
    ),
}
"""Phrases whose content words make up each category. The seed's cautious phrase "on the other hand"
is left out: none of its words means anything like caution by itself."""

# fmt: off
FUNCTION_WORDS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did",
        "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "i", "i'm", "if",
        "in", "is", "it", "its", "let", "let's", "me", "more", "my", "no", "not", "of", "off",
        "on", "or", "our", "she", "should", "so", "tell", "than", "that", "that's", "the",
        "their", "them", "then", "there", "they", "this", "to", "too", "us", "was", "we", "were",
        "what", "when", "where", "which", "who", "will", "with", "would", "you", "your",
    }
)
# fmt: on
"""Words that no category ever contains."""

REVERSED_WORDS = frozenset({"sure"})
"""Content words that mean the opposite without the rest of their phrase: "not sure" is cautious,
while "Sure" opens a compliant reply."""


def content_words(phrases: Iterable[str]) -> list[str]:
    """Return the distinct words of some phrases that carry meaning by themselves, lower case.

    >>> content_words(["I'm not sure", "be careful", "potential risk"])
    ['careful', 'potential', 'risk']
    """
    words = (word for phrase in phrases for word in phrase.lower().split())
    dropped = FUNCTION_WORDS | REVERSED_WORDS
    return [word for word in dict.fromkeys(words) if word not in dropped]


def category_ids(tokenizer: PreTrainedTokenizerBase, category: str) -> list[int]:
    """Return the tokens of a category in a tokenizer's vocabulary.

    Each content word is tried in lower case and capitalised, with and without a leading space. A
    form counts only if it is one token, so that no part of a word is ever boosted. A tokenizer
    without word tokens (bytes, characters) gives an empty list.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        category: One of `CATEGORIES`.

    Returns:
        Sorted distinct token ids.

    Raises:
        ValueError: The category does not exist.

    Source: emotional reward model (the project's seed document), set_token_categories, which took
    every sub-token of every phrase.
    """
    check_category(category)
    found: set[int] = set()
    for word in content_words(PHRASES[category]):
        for form in (word, word.capitalize()):
            for text in (form, f" {form}"):
                tokens = tokenizer.encode(text, add_special_tokens=False)
                # Reading it back excludes an unknown-word token and anything normalised away.
                if len(tokens) == 1 and str(tokenizer.decode(tokens)).strip().lower() == word:
                    found.add(tokens[0])
    return sorted(found)


def check_category(name: str) -> None:
    """Raise a ValueError unless `name` is one of `CATEGORIES`."""
    if name not in CATEGORIES:
        raise ValueError(f"Unknown token category {name!r}; choose from {CATEGORIES}.")
