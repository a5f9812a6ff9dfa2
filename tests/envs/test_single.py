"""The single environment is the one row of a vector environment."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.fear_colours import visible
from erm_gym.envs.single import SingleEnv
from erm_gym.envs.text.candidate import candidate_generation_env, candidate_generation_vec
from erm_gym.llm import FrozenLLM

PROMPTS = ["Hi", "Please help me"]


def make(llm: FrozenLLM, **options: Any) -> SingleEnv:
    defaults = {"prompts": PROMPTS, "k": 6, "max_new_tokens": 3, "critic": None}
    env = candidate_generation_env(llm=llm, **{**defaults, **options})
    assert isinstance(env, SingleEnv)
    return env


def test_it_needs_one_row_that_its_caller_resets(llm: FrozenLLM) -> None:
    options: dict[str, Any] = {"llm": llm, "prompts": PROMPTS, "critic": None}
    with pytest.raises(ValueError, match="one row, got 2"):
        SingleEnv(candidate_generation_vec(2, autoreset_mode=AutoresetMode.DISABLED, **options))
    with pytest.raises(ValueError, match="leave resets to its caller"):
        SingleEnv(candidate_generation_vec(1, **options))


def test_it_returns_what_the_vector_environment_returns(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    single = make(llm, critic=critic)
    vector = candidate_generation_vec(
        1,
        llm=llm,
        critic=critic,
        prompts=PROMPTS,
        k=6,
        max_new_tokens=3,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    observation, info = single.reset(seed=4)
    observations, infos = vector.reset(seed=4)
    assert info == {"prompt": infos["prompt"][0]}
    for step, action in enumerate([3, 0, 4]):
        for key, value in observation.items():
            assert value.dtype == observations[key].dtype
            np.testing.assert_array_equal(value, observations[key][0], err_msg=key)
        observation, reward, terminated, truncated, info = single.step(action)
        observations, rewards, _, truncations, infos = vector.step(np.array([action]))
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        assert reward == rewards[0]
        assert truncated == truncations[0] == (step == 2)
    assert info["transcript"] == infos["transcript"][0]
    assert set(info["reward_terms"]) == {"feedback", "prior"}  # without the masks
    assert info["reward_terms"]["feedback"] == info["feedback"] == reward


def test_it_tells_which_actions_are_allowed(llm: FrozenLLM) -> None:
    env = make(llm, top_p=0.3)
    observation, _ = env.reset(seed=0)
    assert env.action_masks().dtype == bool
    assert 1 < env.action_masks().sum() < 6  # some of the likeliest, and the end of the turn
    np.testing.assert_array_equal(env.action_masks(), observation["action_mask"])


def test_a_finished_episode_refuses_to_go_on_until_it_is_reset(llm: FrozenLLM) -> None:
    env = make(llm, max_new_tokens=1)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ValueError, match="has finished: reset it first"):
        env.step(0)
    env.reset()
    env.step(0)


def test_a_reset_without_a_seed_goes_on_with_the_generator(llm: FrozenLLM) -> None:
    env = make(llm, prompts=[f"Question {n}" for n in range(50)])
    first = env.reset(seed=3)[1]["prompt"]
    later = [env.reset()[1]["prompt"] for _ in range(4)]
    assert len({first, *later}) > 1
    assert env.reset(seed=3)[1]["prompt"] == first
    assert [env.reset()[1]["prompt"] for _ in range(4)] == later


def test_render_is_the_prompt_and_the_reply_so_far(llm: FrozenLLM) -> None:
    env = make(llm, prompts=["Hi there"], render_mode="ansi")
    observation, _ = env.reset(seed=0)
    assert shown(env) == "user      Hi there assistant"
    token = int(observation["candidates"][2])
    env.step(2)
    assert shown(env) == f"user      Hi there assistant {visible(llm.decode([token]))}"
    assert make(llm).render() is None


def shown(env: SingleEnv) -> str:
    """What is rendered, without colours and with one space between lines."""
    rows = re.sub("\x1b\\[[0-9;]*m", "", env.render()).split("\n")
    return " ".join(row.rstrip() for row in rows)


def test_a_closed_environment_refuses(llm: FrozenLLM) -> None:
    env = make(llm)
    env.reset(seed=0)
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.step(0)
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


def test_gymnasium_checks_an_episode_that_ends_at_once(llm: FrozenLLM) -> None:
    """Its determinism check compares the final infos of two equal first steps."""
    terse = copy.copy(llm)
    terse.end_of_turn = frozenset(range(llm.vocab_size))
    env = make(terse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
