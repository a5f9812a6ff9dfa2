"""Random numbers of many rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.streams import BLOCK, RowStreams

Draws = list[tuple[int, list[bool]]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 200), st.lists(st.booleans(), min_size=3, max_size=3)),
        max_size=20,
    )
)
def test_a_row_draws_the_same_whatever_the_others_do(draws: Draws) -> None:
    together, alone = RowStreams([4, 5, 6]), RowStreams([5])
    for count, rows in draws:
        found = together.uniform(count, np.array(rows))
        assert (found[~np.array(rows)] == 0.0).all()
        if rows[1]:
            np.testing.assert_array_equal(found[1], alone.uniform(count)[0])


def test_numbers_are_those_of_a_generator_and_begin_anew_with_a_seed() -> None:
    streams = RowStreams([7])
    first = np.concatenate([streams.uniform(2)[0] for _ in range(BLOCK)])
    np.testing.assert_array_equal(first, np.random.default_rng(7).random(2 * BLOCK))
    streams.seed(0, 7)
    np.testing.assert_array_equal(streams.uniform(5)[0], first[:5])
