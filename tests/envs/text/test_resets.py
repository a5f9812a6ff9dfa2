"""What a reset may ask for: seeds, masks, rows that are still writing, and fear that was kept."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from erm_gym.envs.text.resets import row_seeds, rows_to_reset
from tests.envs.text.conftest import GAMES, Make, act, cruel, equal_steps

DONE = np.array([False, True, False])


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (None, [None, None, None]),
        (0, [0, 1, 2]),
        (np.int64(5), [5, 6, 7]),
        ([4, None, 2], [4, None, 2]),
        ((1, 2, 3), [1, 2, 3]),
        (np.array([3, 2, 1]), [3, 2, 1]),
    ],
)
def test_seeds_of_rows(seed: Any, expected: list[int | None]) -> None:
    assert row_seeds(seed, 3) == expected


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "a seed must be a whole number, at least 0, got -1"),
        (1.5, "at least 0, got 1.5"),
        ("abc", "got 'a"),
        ([1, -2, 3], "at least 0, got -2"),
        ([1, 2], "one per row, 3, got 2"),
    ],
)
def test_a_bad_seed_is_named(seed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row_seeds(seed, 3)


def test_rows_that_a_reset_names() -> None:
    no_seeds: list[int | None] = [None] * 3
    all_rows = np.ones(3, bool)
    for options in (None, {}, {"reset_mask": all_rows}):
        for started in (False, True):
            got = rows_to_reset(options, no_seeds, DONE, started=started)
            np.testing.assert_array_equal(got, all_rows)
    for mask, seeds in ((DONE, no_seeds), (~DONE, [7, None, 8]), (np.arange(3) < 2, [7, None, 1])):
        got = rows_to_reset({"reset_mask": mask}, seeds, DONE, started=True)
        np.testing.assert_array_equal(got, mask)
    for mask, seeds, row in (
        (~DONE, no_seeds, 0),
        (~DONE, [7, 7, None], 2),
        (DONE | (np.arange(3) > 1), no_seeds, 2),
    ):
        with pytest.raises(ValueError, match=f"row {row} is still writing: .*give it a seed"):
            rows_to_reset({"reset_mask": mask}, seeds, DONE, started=True)


@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_running_row_is_reset_with_a_seed_alone(make_game: Make, game: str) -> None:
    """Without one it is an error that touches nothing; with one, the other rows go on."""
    mask = np.array([False, True, False])
    envs, twin, fresh = (make_game(game, 3, max_new_tokens=9) for _ in range(3))
    observations, _ = envs.reset(seed=[1, 2, 3])
    twin.reset(seed=[1, 2, 3])
    actions = act(envs, observations, [0, 1, 2])
    observations = envs.step(actions)[0]
    twin.step(actions)
    for options, seed, message in (
        ({"reset_mask": mask}, None, "row 1 is still writing"),
        ({"reset_mask": mask}, [1, None, 3], "row 1 is still writing"),
        ({"reset_mask": mask}, [None, -1, None], "at least 0, got -1"),
        ({"reset_mask": mask.astype(int)}, 0, "reset_mask must be a bool array"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            envs.reset(seed=seed, options=options)
    actions = act(envs, observations, [3, 4, 5])
    result = envs.step(actions)
    equal_steps(result, twin.step(actions))
    begun, infos = envs.reset(seed=[None, 77, None], options={"reset_mask": mask})
    expected, fresh_infos = fresh.reset(seed=[76, 77, 78])
    assert infos["prompt"][1] == fresh_infos["prompt"][1]
    assert infos["_prompt"].tolist() == mask.tolist()
    for key, value in begun.items():
        np.testing.assert_array_equal(value[~mask], result[0][key][~mask], err_msg=key)
        np.testing.assert_allclose(value[mask], expected[key][mask], atol=1e-4, err_msg=key)
    actions = act(envs, begun, [6, 7, 8])
    theirs = act(twin, result[0], [6, 7, 8])
    one, two = envs.step(actions)[0], twin.step(theirs)[0]
    for key, value in one.items():
        np.testing.assert_allclose(value[~mask], two[key][~mask], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("game", ["candidates", "talk-control"])
def test_a_seed_is_all_that_an_episode_follows_from(make_game: Make, game: str) -> None:
    """Kept tonic fear outlives a reset without a seed, and not one with a seed."""
    options = {"keep_tonic_fear": True, "user": cruel, "max_new_tokens": 2, "max_turns": 1}
    if game == "candidates":
        del options["max_turns"]
    envs = make_game(game, 2, **options)

    def live() -> None:
        observations, _ = envs.reset(seed=0)
        assert not observations["fear"][:, 1].any()
        for key in range(3):
            observations = envs.step(act(envs, observations, [[0, key], [1, key]]))[0]

    live()
    kept = envs.reset()[0]["fear"][:, 1]
    assert (kept > 0.1).all()
    live()
    mask = np.array([True, False])
    before = envs.reset()[0]["fear"][:, 1]
    after = envs.reset(seed=[5, None], options={"reset_mask": mask})[0]["fear"][:, 1]
    assert before[0] > 0.1 and after.tolist() == [0.0, before[1]]
    live()


def test_the_first_reset_without_a_seed_takes_that_of_the_options(make_game: Make) -> None:
    """The next one goes on with the generators, and does not begin with it again."""
    prompts = [f"Question {number}" for number in range(50)]

    def asked(envs: Any, **reset: Any) -> list[str]:
        return [prompt.text for prompt in envs.reset(**reset)[1]["prompt"]]

    envs, twin = (make_game("tokens", 3, prompts=prompts, seed=8) for _ in range(2))
    first = asked(envs)
    assert first == asked(twin, seed=8)
    assert asked(envs) == asked(twin) != first
    unseeded = [asked(make_game("tokens", 3, prompts=prompts)) for _ in range(3)]
    assert len(set(map(tuple, unseeded))) > 1
