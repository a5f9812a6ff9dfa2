"""Where new keys and values go."""

from __future__ import annotations

import torch

from erm_gym.llm.kv_cache import KVCache, Step

HEADS, SIZE = 2, 3


def write(cache: KVCache, positions: list[int], value: float) -> None:
    count = len(positions)
    step = Step(
        cache=cache,
        ids=torch.zeros(count, 1, dtype=torch.int64),
        positions=torch.tensor(positions)[:, None],
        mask=torch.ones(count, 1, 1, max(positions) + 1, dtype=torch.bool),
        last=torch.zeros(count, dtype=torch.int64),
    )
    for layer in (0, 1):
        new = torch.full((count, HEADS, 1, SIZE), value + layer)
        keys, values = step.write(layer, new, 10 * new)
        assert keys.shape == values.shape == (count, HEADS, max(positions) + 1, SIZE)
        for row, position in enumerate(positions):
            assert bool((keys[row, :, position] == value + layer).all())
            assert bool((values[row, :, position] == 10 * (value + layer)).all())


def test_every_row_is_written_at_its_own_position_and_nowhere_else() -> None:
    cache = KVCache(3)
    cache.reserve(8)
    write(cache, [0, 5, 7], 1.0)
    for keys, _ in cache.layers.values():
        assert keys.count_nonzero() == 3 * HEADS * SIZE


def test_writing_goes_on_where_growing_was_interrupted() -> None:
    """Then some layers have room for more positions than the cache says."""
    cache = KVCache(2)
    cache.reserve(8)
    write(cache, [0, 1], 1.0)
    grown = KVCache(2)
    grown.layers, grown.capacity = {0: cache.layers[0]}, 8
    grown.reserve(16)
    cache.layers[0] = grown.layers[0]
    write(cache, [2, 3], 5.0)
    for layer, (keys, _) in cache.layers.items():
        assert keys.count_nonzero() == 4 * HEADS * SIZE
        assert bool((keys[1, :, 1] == 1.0 + layer).all())
