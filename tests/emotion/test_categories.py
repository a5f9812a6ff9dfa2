"""Token categories of real tokenizers."""

from __future__ import annotations

from itertools import combinations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from erm_gym.emotion import CATEGORIES, category_ids
from erm_gym.emotion.categories import FUNCTION_WORDS, PHRASES, REVERSED_WORDS, content_words


def test_phrases_give_their_content_words_only() -> None:
    phrases = ["I'm not sure", "be careful", "potential risk", "it depends", "risk"]
    assert content_words(phrases) == ["careful", "potential", "risk", "depends"]


def test_each_word_counts_in_four_forms(word_tokenizer: PreTrainedTokenizerFast) -> None:
    cautious = set(category_ids(word_tokenizer, "cautious"))
    for form in ("sorry", "Sorry", " sorry", " Sorry"):
        tokens = word_tokenizer.encode(form)
        assert len(tokens) == 1 and tokens[0] in cautious
    assert len(cautious) == 4 * len(content_words(PHRASES["cautious"])) - 4  # but "can't" is two


def test_no_function_word_is_in_any_category(word_tokenizer: PreTrainedTokenizerFast) -> None:
    members = {token for name in CATEGORIES for token in category_ids(word_tokenizer, name)}
    tried = 0
    for word in FUNCTION_WORDS | REVERSED_WORDS:
        for form in (word, word.capitalize()):
            for text in (form, f" {form}"):
                tokens = word_tokenizer.encode(text)
                tried += len(tokens) == 1
                assert len(tokens) > 1 or tokens[0] not in members, text
    assert tried > 250  # they are tokens of this vocabulary, so that the test can fail


def test_categories_are_disjoint_and_however_is_an_alternative(
    word_tokenizer: PreTrainedTokenizerFast,
) -> None:
    ids = {name: set(category_ids(word_tokenizer, name)) for name in CATEGORIES}
    for first, second in combinations(CATEGORIES, 2):
        assert not ids[first] & ids[second]
    assert word_tokenizer.encode(" however")[0] in ids["alternative"]


def test_a_tokenizer_of_bytes_has_no_categories(byte_tokenizer: PreTrainedTokenizerFast) -> None:
    assert [category_ids(byte_tokenizer, name) for name in CATEGORIES] == [[], [], []]


def test_the_unknown_token_is_in_no_category() -> None:
    vocabulary = Tokenizer(models.WordLevel({"<unk>": 0, "perhaps": 1}, unk_token="<unk>"))
    vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, unk_token="<unk>")
    assert category_ids(tokenizer, "cautious") == [1]
    assert category_ids(tokenizer, "exploratory") == []


def test_an_unknown_category_is_an_error(word_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"'calm'; choose from \('cautious'"):
        category_ids(word_tokenizer, "calm")
