"""Orders of prompts: what comes when, by hand and by property."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback.prompt_orders import (
    ORDERS,
    CurriculumOrder,
    Place,
    PromptOrder,
    SequentialOrder,
    ShuffledOrder,
    WeightedOrder,
)
from erm_gym.feedback.prompts import Prompt, PromptError, PromptPool, load_prompts

PROPERTY = settings(deadline=None, derandomize=True, database=None)


def pool_of(size: int) -> PromptPool:
    return load_prompts([str(number) for number in range(size)])


def drawn(order: PromptOrder, begun: range, *, order_seed: int = 0, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [order.draw(Place(begun=t, order_seed=order_seed), rng).text for t in begun]


@PROPERTY
@given(st.integers(1, 12), st.integers(0, 2**53), st.integers(0, 4))
def test_a_shuffled_pass_has_each_prompt_once(size: int, seed: int, number: int) -> None:
    order = ShuffledOrder(pool_of(size))
    passed = drawn(order, range(number * size, (number + 1) * size), order_seed=seed)
    assert sorted(passed, key=int) == [str(index) for index in range(size)]


def test_passes_and_seeds_are_shuffled_anew() -> None:
    order = ShuffledOrder(pool_of(20))
    one, two = (drawn(order, range(n * 20, n * 20 + 20), order_seed=3) for n in (0, 1))
    assert one != two
    assert drawn(order, range(20), order_seed=4) != one
    assert drawn(order, range(20), order_seed=3, seed=9) == one  # the generator is not asked


def test_sequential_rows_share_the_pool_out() -> None:
    order, rng = SequentialOrder(pool_of(3)), np.random.default_rng(0)
    before = rng.bit_generator.state
    rows = [
        [order.draw(Place(begun=t, row=row, rows=2), rng).text for t in range(4)] for row in (0, 1)
    ]
    assert rows == [["0", "2", "1", "0"], ["1", "0", "2", "1"]]
    assert rng.bit_generator.state == before


def test_weights_are_shares() -> None:
    weights = {"0": 0.0, "1": 1.0, "2": 0.0, "3": 3.0, "4": 0.0}
    pool = pool_of(5).weighted_by(lambda prompt: weights[prompt.text])
    counts = Counter(drawn(WeightedOrder(pool), range(4000)))
    assert set(counts) == {"1", "3"}
    assert abs(counts["3"] - 3000) < 137  # five standard deviations
    even = Counter(drawn(WeightedOrder(pool_of(4)), range(4000)))
    assert all(abs(even[name] - 1000) < 137 for name in "0123")


@PROPERTY
@given(st.lists(st.floats(0, 1.7e308), min_size=1, max_size=6).filter(any), st.integers(0, 2**32))
def test_weights_of_zero_never_come_and_huge_ones_do_no_harm(
    weights: list[float], seed: int
) -> None:
    pool = PromptPool(tuple(Prompt(text=str(n), weight=w) for n, w in enumerate(weights)))
    for text in drawn(WeightedOrder(pool), range(20), seed=seed):
        assert weights[int(text)] > 0


def test_weights_of_nothing_but_zero_are_named() -> None:
    with pytest.raises(PromptError, match="give at least one a weight above 0"):
        WeightedOrder(pool_of(3).weighted_by(lambda prompt: 0.0))


# -- curriculum ------------------------------------------------------------------------------------

RISKS = {"c": (0.0, 1.0), "a": (0.3, 0.6), "b": (0.0, 0.8), "": (0.7,)}
PAIRS = PromptPool(
    tuple(
        Prompt(text=f"{pair or 'alone'} {risk}", risk=risk, pair_id=pair)
        for pair, risks in RISKS.items()
        for risk in risks
    )
)


def test_a_curriculum_goes_from_easy_to_hard_by_whole_pairs() -> None:
    """Four groups by their harder prompt: a .6, alone .7, b .8, c 1.

    With T = 100: sqrt(t / 100 * .99 + .01) is .1 at t = 0, .2549 at 5.5, .5 at 24.2, .75 at 55.8.
    """
    order = CurriculumOrder(PAIRS, length=100)

    def names(begun: int) -> list[str]:
        return [prompt.text for prompt in order.easiest(begun)]

    easy = ["a 0.3", "a 0.6"]
    assert names(0) == names(5) == easy
    assert names(6) == names(24) == [*easy, "alone 0.7"]
    assert names(25) == names(55) == [*easy, "alone 0.7", "b 0.0", "b 0.8"]
    assert names(56) == names(100) == names(10**9) == [*names(25), "c 0.0", "c 1.0"]


@PROPERTY
@given(st.integers(0, 60), st.integers(0, 2**32), st.integers(1, 50))
def test_a_curriculum_draws_from_its_open_part_alone(begun: int, seed: int, length: int) -> None:
    order = CurriculumOrder(PAIRS, length=length)
    part = order.easiest(begun)
    assert order.draw(Place(begun=begun), np.random.default_rng(seed)) in set(part)
    groups = Counter(prompt.pair_id for prompt in part if prompt.pair_id)
    assert set(groups.values()) <= {2}
    assert len(order.easiest(begun + 1)) >= len(part)


def test_a_curriculum_ends_with_all_prompts_equally_likely() -> None:
    counts = Counter(drawn(CurriculumOrder(PAIRS, length=1), range(1, 7001)))
    assert len(counts) == 7
    assert all(abs(count - 1000) < 147 for count in counts.values())  # five standard deviations


def test_what_is_hard_is_chosen() -> None:
    by_length = CurriculumOrder(load_prompts(["a b c", "a", "a b"]), key="length")
    assert [one.text for one in by_length.easiest(500)] == ["a", "a b", "a b c"]
    by_risk = CurriculumOrder(PAIRS, key=lambda prompt: -prompt.risk)
    assert by_risk.easiest(0).prompts[0].text == "alone 0.7"  # of a pair the harder one counts
    for wrong, message in (
        ({"key": "lenght"}, "unknown key 'lenght'; did you mean 'length'"),
        ({"length": 0}, "length of a curriculum must be at least 1, got 0"),
        ({"key": lambda prompt: math.nan}, "no number for 'c 0.0'"),
    ):
        with pytest.raises(PromptError, match=message):
            CurriculumOrder(PAIRS, **wrong)


def test_equally_hard_domains_come_mixed() -> None:
    """The pool is sorted by domain, and a curriculum must not be."""
    pool = load_prompts("default").split("train")
    first = CurriculumOrder(pool).easiest(0)
    assert len({prompt.domain for prompt in first}) >= 5
    second = CurriculumOrder(pool).easiest(0)
    assert first == second


@pytest.mark.parametrize("name", ORDERS)
def test_a_pool_of_one_prompt_is_asked_again_and_again(name: str) -> None:
    assert drawn(ORDERS[name](pool_of(1)), range(5)) == ["0"] * 5
