"""The adapter keeps Stable-Baselines3's semantics: its own `DummyVecEnv` is the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from erm_gym.agents import GymnasiumVecEnv
from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.candidate import candidate_generation_env
from erm_gym.feedback import Prompt
from erm_gym.llm import FrozenLLM

MakeEnvs = Callable[..., VectorEnv]


def test_it_behaves_as_a_dummy_vec_env_of_single_environments(
    make_envs: MakeEnvs, llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    options = {"prompts": [f"Question {n}" for n in range(9)], "k": 40, "prior_weight": 0.1}
    single = {
        **options,
        "llm": llm,
        "critic": critic,
        "max_new_tokens": 4,
        "user": lambda p, r: 0.5,
    }
    native: VecEnv = GymnasiumVecEnv(make_envs(3, **{**options, "user": lambda p, r: 0.5}))
    dummy = DummyVecEnv([lambda: Monitor(candidate_generation_env(**single)) for _ in range(3)])
    end = llm.tokenizer.eos_token_id
    rng = np.random.default_rng(0)

    def same(one: Any, other: Any) -> None:
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert value.dtype == other[key].dtype
            np.testing.assert_allclose(value, other[key], atol=1e-4, err_msg=key)

    for vec in (native, dummy):
        vec.seed(5)
    observations: Any = native.reset()
    reference: Any = dummy.reset()
    same(observations, reference)
    assert [info["prompt"] for info in native.reset_infos] == [
        info["prompt"] for info in dummy.reset_infos
    ]
    ended = {True: 0, False: 0}
    for _ in range(25):
        actions = rng.integers(0, 40, size=3)
        for row in range(3):  # some rows end their turn, where they can
            stop = np.flatnonzero(observations["candidates"][row] == end)
            if len(stop) and rng.random() < 0.1:
                actions[row] = stop[0]
        observations, rewards, dones, infos = native.step(actions)
        reference, expected_rewards, expected_dones, expected_infos = dummy.step(actions)
        same(observations, reference)
        assert rewards.dtype == np.float32 and rewards.shape == (3,)
        np.testing.assert_allclose(rewards, expected_rewards, atol=1e-5)
        np.testing.assert_array_equal(dones, expected_dones)
        for row, info in enumerate(infos):
            if not dones[row]:
                assert info == {}
                continue
            expected = expected_infos[row]
            same(info["terminal_observation"], expected["terminal_observation"])
            assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
            ended[info["TimeLimit.truncated"]] += 1
            assert info["episode"]["r"] == pytest.approx(expected["episode"]["r"], abs=1e-5)
            assert info["episode"]["l"] == expected["episode"]["l"]
            for key in ("transcript", "feedback", "prompt"):
                assert info[key] == expected[key]
            assert info["reward_terms"] == pytest.approx(expected["reward_terms"], abs=1e-4)
    assert ended[True] > 2 and ended[False] > 0  # both endings were seen


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_other_autoreset_modes_are_refused(make_envs: MakeEnvs, mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=r"reset in the same step.*autoreset_mode='SameStep'"):
        GymnasiumVecEnv(make_envs(2, autoreset_mode=mode))


def test_seeds_hold_for_one_reset(make_envs: MakeEnvs) -> None:
    vec = GymnasiumVecEnv(make_envs(2, prompts=[f"Question {n}" for n in range(99)]))

    def prompts() -> list[Prompt]:
        vec.reset()
        return [info["prompt"] for info in vec.reset_infos]

    vec.seed(3)
    first, second = prompts(), prompts()
    assert first != second
    vec.seed(3)
    assert (prompts(), prompts()) == (first, second)


def test_a_reset_in_the_middle_begins_returns_anew(make_envs: MakeEnvs) -> None:
    vec = GymnasiumVecEnv(make_envs(1, prior_weight=1.0, user=lambda p, r: 0.0))
    vec.seed(0)
    vec.reset()
    vec.step(np.array([7]))
    vec.reset()
    total = 0.0
    for _ in range(4):
        _, rewards, dones, infos = vec.step(np.array([1]))
        total += float(rewards[0])
    assert dones[0] and infos[0]["episode"]["l"] == 4
    assert infos[0]["episode"]["r"] == pytest.approx(total, rel=1e-5)


def test_attributes_are_shared_by_all_rows(make_envs: MakeEnvs) -> None:
    envs = make_envs(3)
    vec = GymnasiumVecEnv(envs)
    assert vec.num_envs == 3
    assert (vec.observation_space, vec.action_space) == (
        envs.single_observation_space,
        envs.single_action_space,
    )
    assert vec.get_attr("num_envs") == [3, 3, 3]
    assert vec.get_attr("num_envs", [0, 2]) == [3, 3]
    assert vec.has_attr("critic") and not vec.has_attr("no_such_thing")
    vec.set_attr("mood", "calm")
    assert vec.get_attr("mood", 1) == ["calm"]
    with pytest.raises(ValueError, match="share their attributes"):
        vec.set_attr("mood", "calm", [0])
    assert vec.env_method("render") == [None, None, None]
    assert vec.env_is_wrapped(Monitor, [0, 1]) == [False, False]
    assert list(vec.get_images()) == [None, None, None]


def test_close_closes_the_environment(make_envs: MakeEnvs) -> None:
    vec = GymnasiumVecEnv(make_envs(1))
    vec.reset()
    vec.close()
    with pytest.raises(RuntimeError, match="closed"):
        vec.reset()
