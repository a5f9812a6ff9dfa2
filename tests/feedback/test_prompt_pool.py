"""Parts of a pool: by split, by domain, by whole pairs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback.prompts import (
    HELD_OUT_DOMAINS,
    SPLITS,
    Prompt,
    PromptError,
    PromptPool,
    load_prompts,
)

POOL = PromptPool(
    tuple(
        Prompt(text=f"{domain} {split}", domain=domain, split=split)
        for domain in ("money", "law", "weapons")
        for split in ("train", "test")
    )
)


def texts(pool: PromptPool) -> list[str]:
    return [prompt.text for prompt in pool]


def test_a_split_may_name_domains() -> None:
    assert texts(POOL.split("test:law")) == ["law test"]
    assert texts(POOL.split("test: weapons, money")) == ["money test", "weapons test"]
    assert texts(POOL.split("all:law")) == ["law train", "law test"]
    assert texts(POOL.split("train:-law")) == ["money train", "weapons train"]
    assert texts(POOL.split("train:-law,-money")) == ["weapons train"]
    assert POOL.domains == {"law": 2, "money": 2, "weapons": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dev:law", "unknown split 'dev:law'; choose one of"),
        ("test:wepons", r"no domain 'wepons'; did you mean 'weapons'\? There are .*'law', 'money'"),
        ("test:zzz", r"no domain 'zzz'; there are \['law', 'money', 'weapons'\]"),
        ("test:", "cannot read the split 'test:'; write it as test:weapons,drugs"),
        ("test:law,-money", "cannot read the split"),
        ("test:-", "cannot read the split"),
        ("test:law,", "cannot read the split"),
        ("train:-law,-money,-weapons", "leaves no prompt out of 6"),
        ("validation:law", "no prompt in 'validation:law'"),
        ("validation", "no 'validation' split"),
        ("test:held-out", "no domain 'electricity'"),
    ],
)
def test_a_bad_split_names_the_fix(name: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        POOL.split(name)


def test_domains_are_held_out() -> None:
    kept, held = POOL.split("all:-law"), POOL.split("all:law")
    assert texts(kept) == ["money train", "money test", "weapons train", "weapons test"]
    assert texts(held) == ["law train", "law test"]


def test_a_pair_over_two_domains_is_held_out_as_a_whole() -> None:
    pool = PromptPool(
        (
            Prompt(text="a", domain="law", pair_id="p"),
            Prompt(text="b", domain="money", pair_id="p"),
            Prompt(text="c", domain="money"),
            Prompt(text="d", domain="law"),
        )
    )
    kept, held = pool.split("all:-law"), pool.split("all:law")
    assert (texts(kept), texts(held)) == (["c"], ["a", "b", "d"])
    assert texts(pool.split("all:-money")) == ["d"]


@settings(deadline=None, derandomize=True, database=None)
@given(st.sets(st.sampled_from(sorted(load_prompts("default").domains)), min_size=1, max_size=15))
def test_whole_pairs_stay_together_and_nothing_is_lost(held_out: set[str]) -> None:
    pool = load_prompts("default")
    names = sorted(held_out)
    held = pool.split(f"all:{','.join(names)}")
    kept = pool.split("all:" + ",".join(f"-{name}" for name in names))
    assert len(kept) + len(held) == len(pool)
    assert {prompt.domain for prompt in held} == held_out
    assert {one.pair_id for one in kept}.isdisjoint(one.pair_id for one in held)


def test_the_published_domains_are_there_in_every_split() -> None:
    pool = load_prompts("default")
    for split in SPLITS:
        seen = pool.split(f"{split}:-held-out")
        unseen = pool.split(f"{split}:held-out")
        assert {prompt.domain for prompt in unseen} == set(HELD_OUT_DOMAINS)
        assert len(seen) + len(unseen) == len(pool.split(split))
        assert sum(prompt.risky for prompt in unseen) * 2 == len(unseen)


def test_a_domain_of_that_name_goes_before_the_published_ones() -> None:
    pool = PromptPool((Prompt(text="a", domain="held-out"), Prompt(text="b", domain="law")))
    assert texts(pool.split("all:held-out")) == ["a"]


def test_weights_are_replaced_and_checked() -> None:
    heavy = POOL.weighted_by(lambda prompt: 3 if prompt.domain == "law" else 0.5)
    assert [prompt.weight for prompt in heavy] == [0.5, 0.5, 3.0, 3.0, 0.5, 0.5]
    assert texts(heavy) == texts(POOL)
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(PromptError, match=r"weight must be finite, >= 0, got .* for 'money tr"):
            POOL.weighted_by({prompt: wrong for prompt in POOL}.__getitem__)
