"""Prompts: their ranges, pools and files, and what the shipped pairs promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Prompt, PromptError, PromptPool, load_prompts
from erm_gym.feedback.prompts import SPLITS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": ""}, "prompt 'p1' is empty"),
        ({"text": " \n"}, "prompt 'p1' is empty"),
        ({"risk": -0.1}, r"risk must be in \[0, 1\], got -0.1"),
        ({"risk": 1.1}, "got 1.1"),
        ({"risk": float("nan")}, "got nan"),
        ({"split": "dev"}, "split must be one of .*'train'.* got 'dev'"),
    ],
)
def test_a_bad_prompt_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(**{"text": "Hi", "prompt_id": "p1", **values})


def test_risky_means_above_one_half() -> None:
    assert [Prompt(text="a", risk=risk).risky for risk in (0.0, 0.5, 0.51, 1.0)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_pool_splits() -> None:
    prompts = tuple(Prompt(text=name, split=name) for name in ("train", "test", "train"))
    pool = PromptPool(prompts)
    assert pool.split("train").prompts == (prompts[0], prompts[2])
    assert pool.split("all") is pool
    assert len(pool) == 3 and list(pool) == list(prompts)
    with pytest.raises(PromptError, match="unknown split 'tests'"):
        pool.split("tests")
    with pytest.raises(PromptError, match="no 'validation' split; use split='all'"):
        pool.split("validation")
    with pytest.raises(PromptError, match="at least one"):
        PromptPool(())


def test_sampling_is_seeded_and_even() -> None:
    pool = load_prompts(["a", "b", "c", "d"])
    rng = np.random.default_rng(0)
    counts = Counter(pool.sample(rng).text for _ in range(2000))
    assert set(counts) == set("abcd")
    assert all(abs(count - 500) < 100 for count in counts.values())  # five standard deviations
    again = np.random.default_rng(0)
    assert Counter(pool.sample(again).text for _ in range(2000)) == counts


def test_lists_and_pools_load() -> None:
    prompt = Prompt(text="mine", risk=1.0)
    pool = load_prompts(["a text", prompt])
    assert pool.prompts == (Prompt(text="a text", prompt_id="0"), prompt)
    assert load_prompts(pool) is pool


def test_a_csv_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(
        'text,risk,split\n"Two, with\na line break",0.25,test\nOne,1,train\n', encoding="utf-8"
    )
    expected = (
        Prompt(text="Two, with\na line break", risk=0.25, split="test"),
        Prompt(text="One", risk=1.0),
    )
    assert load_prompts(path).prompts == load_prompts(str(path)).prompts == expected
    path.write_text("text\nÜber\n", encoding="utf-8")
    assert load_prompts(path).prompts == (Prompt(text="Über"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,risk\nfine,0\nbad,2\n", "line 3: risk must be .* got 2.0"),
        ("text,risk\nbad,high\n", "line 2: .*high"),
        ("text,risk\nbad,\n", "line 2"),
        ('text,risk\n"two\nlines",0\n,0\n', "line 4: .*empty"),
        ("text,split\nbad,dev\n", "line 2: split must be"),
        ("text\nfine\nbad,0.5,more\n", "line 3"),
        ("risk,text\n0.5\n", "line 2"),
        ("text,rsik\nbad,0\n", "header must hold 'text'.*'risk'.* it holds .*'rsik'"),
        ("prompt\nbad\n", "header must hold 'text'"),
        ("", "header must hold 'text'"),
        ("text,risk\n", "holds no prompt"),
    ],
)
def test_a_bad_csv_file_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PromptError, match=f"(?s)prompts.csv.*{message}"):
        load_prompts(path)


def test_a_csv_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes("text\nfine\nÜber\n".encode("latin-1"))
    with pytest.raises(PromptError, match=r"prompts\.csv"):
        load_prompts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(
            PromptError, match=r"no prompts at .*give 'default', a CSV file or a list"
        ):
            load_prompts(path)


# -- what comes with the package -------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> PromptPool:
    return load_prompts("default")


def test_the_shipped_prompts_are_many_and_distinct(shipped: PromptPool) -> None:
    assert len(shipped) >= 120
    texts = Counter(" ".join(prompt.text.lower().split()) for prompt in shipped)
    assert [text for text, count in texts.items() if count > 1] == []
    ids = Counter(prompt.prompt_id for prompt in shipped)
    assert "" not in ids and max(ids.values()) == 1
    assert all(prompt.text == prompt.text.strip() for prompt in shipped)


def test_the_shipped_prompts_are_contrast_pairs(shipped: PromptPool) -> None:
    pairs = defaultdict(list)
    for prompt in shipped:
        pairs[prompt.pair_id].append(prompt)
    assert "" not in pairs
    for pair_id, prompts in pairs.items():
        assert len(prompts) == 2, pair_id
        assert {prompt.risky for prompt in prompts} == {True, False}, pair_id
        assert len({prompt.split for prompt in prompts}) == 1, pair_id
        assert len({prompt.domain for prompt in prompts}) == 1, pair_id


def test_the_shipped_prompts_cover_domains_and_splits(shipped: PromptPool) -> None:
    domains = {prompt.domain for prompt in shipped}
    assert len(domains) >= 8 and "any" not in domains
    for split in SPLITS:
        part = shipped.split(split)
        assert len({prompt.domain for prompt in part}) >= 8
        assert sum(prompt.risky for prompt in part) * 2 == len(part)
    assert len(shipped.split("train")) > len(shipped) / 2


def test_the_risk_of_the_shipped_prompts_is_graded(shipped: PromptPool) -> None:
    harmless = [prompt.risk for prompt in shipped if not prompt.risky]
    risky = [prompt.risk for prompt in shipped if prompt.risky]
    assert set(harmless) == {0.0, 0.1, 0.2, 0.3}
    assert set(risky) == {0.6, 0.7, 0.8, 0.9, 1.0}
    # What a user makes of it is 2 risk - 1: the default environment must still tell them apart.
    assert 2 * np.mean(risky) - 1 >= 0.7
    assert 2 * np.mean(harmless) - 1 <= -0.8


@pytest.mark.parametrize(
    ("prompt_id", "risk"),
    [
        ("weapons-001-risky", 1.0),  # a bomb
        ("self-harm-000-risky", 1.0),
        ("children-009-risky", 1.0),  # a swallowed battery
        ("chemistry-000-risky", 0.9),  # bleach and ammonia
        ("animals-002-risky", 0.8),  # chocolate for a dog
        ("law-003-risky", 0.7),  # a copied key
        ("privacy-014-risky", 0.6),  # what a neighbour reads
        ("chemistry-002-harmless", 0.3),  # hot oil
        ("animals-017-harmless", 0.1),  # food for cats
        ("money-022-harmless", 0.0),  # rhymes
    ],
)
def test_anchors_of_the_scale(shipped: PromptPool, prompt_id: str, risk: float) -> None:
    """One prompt for every grade, as the data card explains it."""
    (found,) = [prompt.risk for prompt in shipped if prompt.prompt_id == prompt_id]
    assert found == risk


STYLES = {"terse", "polite", "indirect", "preamble", "typos"}


def test_the_shipped_phrasings_say_the_same(shipped: PromptPool) -> None:
    originals = {prompt.prompt_id: prompt for prompt in shipped}
    phrasings = load_prompts("phrasings")
    styles = defaultdict(set)
    for prompt in phrasings:
        original = originals[prompt.phrasing_of]
        for name in ("risk", "domain", "pair_id", "split"):
            assert getattr(prompt, name) == getattr(original, name), prompt.prompt_id
        assert prompt.prompt_id == f"{original.prompt_id}-{prompt.phrasing}"
        styles[prompt.phrasing_of].add(prompt.phrasing)
    assert all(found == STYLES for found in styles.values())
    pairs = Counter(originals[name].pair_id for name in styles)
    assert len(pairs) >= 100 and set(pairs.values()) == {2}
    texts = [prompt.text.lower() for prompt in (*shipped, *phrasings)]
    assert len(set(texts)) == len(texts)
    for split in SPLITS:
        assert len(phrasings.split(split).domains) == 16


def test_terse_is_short_and_polite_is_long(shipped: PromptPool) -> None:
    originals = {prompt.prompt_id: prompt.text for prompt in shipped}
    words: dict[str, list[float]] = defaultdict(list)
    for prompt in load_prompts("phrasings"):
        original = originals[prompt.phrasing_of]
        words[prompt.phrasing].append(len(prompt.text.split()) / len(original.split()))
        if prompt.phrasing in ("polite", "preamble"):
            assert original in prompt.text
    assert np.mean(words["terse"]) < 0.7
    assert min(words["polite"]) > 1.3 and min(words["preamble"]) > 1.3
    assert words["typos"] == [1.0] * len(words["typos"])


def test_the_shipped_intermediate_prompts_are_a_matter_of_degree(shipped: PromptPool) -> None:
    pool = load_prompts("intermediate")
    assert len(pool) == 80 and pool.domains.keys() == shipped.domains.keys()
    assert {prompt.risk for prompt in pool} == {0.4, 0.5, 0.6}
    assert {prompt.pair_id for prompt in pool} == {""}
    assert {prompt.text for prompt in pool}.isdisjoint(prompt.text for prompt in shipped)
    for split in SPLITS:
        assert pool.split(split).domains.keys() == shipped.domains.keys()
