"""Cursors: the same seed, the same prompts; and back to where one was."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback.prompt_cursor import CursorState, PromptCursor
from erm_gym.feedback.prompt_orders import ORDERS, CurriculumOrder
from erm_gym.feedback.prompts import PromptError, load_prompts

POOL = load_prompts([str(number) for number in range(7)])
NAMES = st.sampled_from(sorted(ORDERS))
SEEDS = st.integers(0, 2**32)
PROPERTY = settings(deadline=None, derandomize=True, database=None)


def take(cursor: PromptCursor, count: int) -> list[str]:
    return [prompt.text for prompt in islice(cursor, count)]


@PROPERTY
@given(NAMES, SEEDS, st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_a_snapshot_is_gone_back_to(
    name: str, seed: int, before: int, between: int, after: int
) -> None:
    cursor = PromptCursor(name, POOL, seed=seed)
    take(cursor, before)
    state = cursor.snapshot()
    first = take(cursor, after)
    take(cursor, between)
    for _ in range(2):  # any number of times
        cursor.restore(state)
        assert take(cursor, after) == first
    other = PromptCursor(name, POOL, seed=seed + 1)
    other.restore(CursorState(**json.loads(json.dumps(asdict(state)))))  # through a file
    assert take(other, after) == first


@PROPERTY
@given(NAMES, SEEDS, st.integers(1, 30))
def test_the_seed_decides(name: str, seed: int, count: int) -> None:
    one, two = PromptCursor(name, POOL, seed=seed), PromptCursor(name, POOL)
    two.seed(seed)
    assert take(one, count) == take(two, count)


@pytest.mark.parametrize("name", sorted(set(ORDERS) - {"sequential"}))
def test_other_seeds_give_other_prompts(name: str) -> None:
    assert len({tuple(take(PromptCursor(name, POOL, seed=seed), 20)) for seed in range(9)}) == 9


@PROPERTY
@given(SEEDS)
def test_a_shuffled_cursor_gives_each_prompt_once_per_pass(seed: int) -> None:
    cursor = PromptCursor("shuffled", POOL, seed=seed)
    for _ in range(3):
        assert sorted(take(cursor, 7)) == list("0123456")


def test_drawing_does_not_go_on() -> None:
    cursor = PromptCursor("shuffled", POOL, seed=0)
    assert cursor.draw() == cursor.draw() == next(cursor)
    assert cursor.begun == 1


def test_side_by_side_the_pool_is_shared_out() -> None:
    rows = [PromptCursor("sequential", POOL, row=row, rows=3) for row in range(3)]
    assert [take(cursor, 3) for cursor in rows] == [
        ["0", "3", "6"],
        ["1", "4", "0"],
        ["2", "5", "1"],
    ]


def test_an_order_of_ones_own_has_its_pool() -> None:
    cursor = PromptCursor(CurriculumOrder(POOL, length=3), seed=0)
    assert set(take(cursor, 200)) == set("0123456")


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(PromptError, match="unknown order 'shufled'; did you mean 'shuffled'"):
        PromptCursor("shufled", POOL)
    with pytest.raises(PromptError, match="needs a pool"):
        PromptCursor("random")
    with pytest.raises(PromptError, match="has its own pool"):
        PromptCursor(CurriculumOrder(POOL), POOL)
