"""The option `prompt_order`: what rows are asked, alone and side by side."""

from __future__ import annotations

from typing import Any

import pytest

from erm_gym.feedback import Prompt, PromptError, PromptPool, load_prompts
from erm_gym.feedback.prompt_orders import ORDERS
from tests.envs.text.conftest import Make, content

POOL = PromptPool(
    tuple(
        Prompt(text=f"Question {n}", risk=0.6 + n / 20, weight=n % 2, pair_id=str(n))
        for n in range(6)
    )
)
ONE_TOKEN: dict[str, Any] = {"max_new_tokens": 1, "prompts": POOL, "user": content}


def asked(envs: Any, seeds: list[int] | None, count: int) -> list[list[str]]:
    """The prompts of the next episodes, by row; every step ends all of them."""
    _, infos = envs.reset(seed=seeds)
    found = [[prompt.text] for prompt in infos["prompt"]]
    for _ in range(count - 1):
        *_, infos = envs.step(envs.action_space.sample() * 0)
        for row, prompt in enumerate(infos["prompt"]):
            found[row].append(prompt.text)
    return found


@pytest.mark.parametrize("order", sorted(set(ORDERS) - {"sequential"}))
def test_a_row_depends_on_its_own_seed_alone(make_game: Make, order: str) -> None:
    options = {"prompt_order": order, "curriculum_episodes": 4, **ONE_TOKEN}
    three = asked(make_game("tokens", 3, **options), [7, 8, 9], 8)
    assert asked(make_game("tokens", 1, **options), [8], 8) == three[1:2]
    assert asked(make_game("tokens", 2, **options), [9, 8], 8) == [three[2], three[1]]
    assert three[0] != three[1]


def test_shuffled_rows_are_asked_each_prompt_once_per_pass(make_game: Make) -> None:
    envs = make_game("tokens", 2, prompt_order="shuffled", **ONE_TOKEN)
    everything = sorted(prompt.text for prompt in POOL)
    for row in asked(envs, [0, 1], 12):
        assert sorted(row[:6]) == sorted(row[6:]) == everything
        assert row[:6] != row[6:]


def test_weights_and_curriculum_are_kept(make_game: Make) -> None:
    weighted = asked(make_game("tokens", 2, prompt_order="weighted", **ONE_TOKEN), [0, 1], 12)
    assert {text for row in weighted for text in row} == {f"Question {n}" for n in (1, 3, 5)}
    envs = make_game("tokens", 2, prompt_order="curriculum", **ONE_TOKEN)
    for row in asked(envs, [0, 1], 5):  # the share of 5 of 500 episodes is below 1 / 6
        assert set(row) == {"Question 0"}
    envs = make_game(
        "tokens", 2, prompt_order="curriculum", curriculum_episodes=1, curriculum_key="length",
        **ONE_TOKEN,
    )  # fmt: skip
    assert len({text for row in asked(envs, [0, 1], 12) for text in row}) > 3


@pytest.mark.parametrize("order", sorted(ORDERS))
def test_a_snapshot_keeps_the_place_in_the_order(make_game: Make, order: str) -> None:
    envs = make_game("tokens", 2, prompt_order=order, **ONE_TOKEN)
    asked(envs, [3, 4], 4)
    snapshot = envs.snapshot()
    after = asked(envs, None, 7)
    envs.restore(snapshot)
    assert asked(envs, None, 7) == after
    twin = make_game("tokens", 2, prompt_order=order, **ONE_TOKEN)
    twin.restore(snapshot)
    assert asked(twin, None, 7) == after


def test_a_random_row_is_asked_what_it_always_was(make_game: Make) -> None:
    """The first prompts of seeds 0 to 3, as before there were other orders: figures rest on it."""
    import numpy as np

    envs = make_game("tokens", 4, **ONE_TOKEN)
    expected = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        row = []
        for _ in range(3):
            row.append(POOL.prompts[int(rng.integers(6))].text)
            rng.integers(2**31)  # the seed of the user's reaction
        expected.append(row)
    assert asked(envs, [0, 1, 2, 3], 3) == expected


def test_no_prompt_with_a_weight_is_an_error(make_game: Make) -> None:
    pool = POOL.weighted_by(lambda prompt: 0.0)
    with pytest.raises(PromptError, match="all prompts have weight 0"):
        make_game("tokens", 2, prompt_order="weighted", prompts=pool)


def test_pools_of_the_package_are_for_training(make_game: Make) -> None:
    envs = make_game("tokens", 1, prompts="intermediate")
    assert envs.prompts == load_prompts("intermediate").split("train")
    envs = make_game("tokens", 1, prompts="phrasings", split="test:-held-out")
    assert {prompt.split for prompt in envs.prompts} == {"test"}
    assert "money" not in envs.prompts.domains
