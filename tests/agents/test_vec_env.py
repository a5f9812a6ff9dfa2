"""The adapter keeps Stable-Baselines3's semantics: its own `DummyVecEnv` is the reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from erm_gym.agents import GymnasiumVecEnv
from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.candidate import candidate_generation_env
from erm_gym.envs.text.conversation import conversation_env, conversation_vec
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
    rng = np.random.default_rng(3)

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
            expected = expected_infos[row]
            assert native.reset_infos[row]["prompt"] == dummy.reset_infos[row]["prompt"]
            if not dones[row]:
                assert info == expected == {"TimeLimit.truncated": False}
                continue
            same(info["terminal_observation"], expected["terminal_observation"])
            assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
            ended[info["TimeLimit.truncated"]] += 1
            assert info["episode"]["r"] == pytest.approx(expected["episode"]["r"], abs=1e-5)
            assert info["episode"]["l"] == expected["episode"]["l"]
            assert info["episode"].keys() == expected["episode"].keys()
            assert info.keys() == expected.keys()
            for key in ("transcript", "feedback", "prompt"):
                assert info[key] == expected[key]
            assert info["reward_terms"] == pytest.approx(expected["reward_terms"], abs=1e-4)
    assert ended[True] > 2 and ended[False] > 0  # both endings were seen


def test_what_is_told_in_the_middle_of_an_episode_reaches_its_row(
    make_envs: MakeEnvs, llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    """In a conversation the user reacts to every reply, and not to the last one only."""
    options: dict[str, Any] = {
        "prompts": [f"Question {n}" for n in range(9)],
        "user": lambda prompt, reply: len(reply) % 3 / 2 - 0.5,
        "k": 40,
        "max_turns": 3,
    }
    single = {**options, "llm": llm, "critic": critic, "max_new_tokens": 4}
    native: VecEnv = GymnasiumVecEnv(make_envs(3, kind=conversation_vec, **options))
    dummy = DummyVecEnv([lambda: Monitor(conversation_env(**single)) for _ in range(3)])
    rng = np.random.default_rng(3)
    for vec in (native, dummy):
        vec.seed(5)
        vec.reset()
    reactions = {"in the middle": 0, "at the end": 0}
    for _ in range(25):
        actions = rng.integers(0, 40, size=3)
        _, rewards, dones, infos = native.step(actions)
        _, expected_rewards, expected_dones, expected_infos = dummy.step(actions)
        np.testing.assert_allclose(rewards, expected_rewards, atol=1e-5)
        np.testing.assert_array_equal(dones, expected_dones)
        for info, expected, done in zip(infos, expected_infos, dones, strict=True):
            assert info.keys() == expected.keys()
            for key in {"transcript", "feedback", "components", "TimeLimit.truncated"} & set(info):
                assert info[key] == expected[key], key
            if "transcript" in info:
                reactions["at the end" if done else "in the middle"] += 1
    assert min(reactions.values()) > 3, reactions


def test_infos_without_a_mask_are_of_all_rows(make_envs: MakeEnvs) -> None:
    """Gymnasium's statistics have no masks inside, and are told of rows that ended."""
    vec = GymnasiumVecEnv(gym.wrappers.vector.RecordEpisodeStatistics(make_envs(2)))
    vec.seed(0)
    vec.reset()
    for _ in range(8):
        _, _, dones, infos = vec.step(np.array([1, 2]))
        for row in np.flatnonzero(dones):
            assert vec.reset_infos[row]["episode"]["l"] == infos[row]["episode"]["l"]
            assert vec.reset_infos[row]["episode"]["r"] == pytest.approx(infos[row]["episode"]["r"])
    assert all("episode" in info for info in vec.reset_infos)


class Scripted(VectorEnv):
    """Rows of a step that a test wrote down; its infos may only be read where something ended."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
        self.single_action_space = gym.spaces.Discrete(2)
        self.options: list[dict[str, Any] | None] = []
        self.ended = np.zeros(num_envs, bool)
        self.cut = np.zeros(num_envs, bool)
        self.infos: dict[str, Any] = {}

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.options.append(options)
        return np.zeros((self.num_envs, 2), np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations = np.zeros((self.num_envs, 2), np.float32)
        return observations, np.ones(self.num_envs), self.ended, self.cut, self.infos


def test_infos_are_those_of_the_environment_and_no_copies() -> None:
    env = Scripted(3)
    vec = GymnasiumVecEnv(env)
    vec.reset()
    final, picture = np.ones(2, np.float32), np.ones((3, 4))
    only_first = np.array([True, False, False])
    env.ended = np.array([True, False, False])
    env.infos = {
        "final_obs": np.array([final, None, None], dtype=object),
        "_final_obs": only_first,
        "final_info": {"picture": picture, "_picture": only_first},
        "_final_info": only_first,
        "note": np.array([None, None, "aha"], dtype=object),
        "_note": np.array([False, False, True]),
    }
    _, _, _, infos = vec.step(np.zeros(3, np.int64))
    assert infos[0]["terminal_observation"] is final
    assert np.shares_memory(infos[0]["picture"], picture)
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[1] == {"TimeLimit.truncated": False}
    assert infos[2] == {"TimeLimit.truncated": False, "note": "aha"}


@pytest.mark.parametrize(
    ("ended", "cut", "expected"), [(True, True, False), (False, True, True), (True, False, False)]
)
def test_a_time_limit_is_what_only_truncates(ended: bool, cut: bool, expected: bool) -> None:
    env = Scripted(1)
    vec = GymnasiumVecEnv(env)
    vec.reset()
    env.ended, env.cut = np.array([ended]), np.array([cut])
    env.infos = {"final_obs": np.array([np.ones(2)], dtype=object)}  # and no final info at all
    _, _, dones, infos = vec.step(np.zeros(1, np.int64))
    assert dones.tolist() == [True] and infos[0]["TimeLimit.truncated"] is expected


def test_a_step_in_which_nothing_ends_costs_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def note(infos: dict[str, Any], row: int) -> dict[str, Any]:
        calls.append(row)
        return {}

    monkeypatch.setattr("erm_gym.agents.vec_env._info_of_row", note)
    env = Scripted(64)
    vec = GymnasiumVecEnv(env)
    vec.reset()
    calls.clear()
    vec.step(np.zeros(64, np.int64))
    assert calls == []
    env.ended[7] = True
    env.infos = {"final_obs": np.full(64, None, dtype=object), "final_info": {}}
    vec.step(np.zeros(64, np.int64))
    assert set(calls) == {7}


def test_options_hold_for_one_reset() -> None:
    env = Scripted(2)
    vec = GymnasiumVecEnv(env)
    vec.set_options({"difficulty": 3})
    vec.reset()
    vec.reset()
    vec.set_options([{"difficulty": 4}, {"difficulty": 4}])
    vec.reset()
    assert env.options == [{"difficulty": 3}, None, {"difficulty": 4}]
    vec.set_options([{"difficulty": 4}, {"difficulty": 5}])
    with pytest.raises(ValueError, match=r"reset together.*one dictionary for all"):
        vec.reset()


def test_evaluation_counts_what_was_earned_and_not_what_was_normalised(
    make_envs: MakeEnvs,
) -> None:
    vec = GymnasiumVecEnv(make_envs(2, user=lambda prompt, reply: 0.25))
    agent = PPO("MultiInputPolicy", vec, n_steps=4, batch_size=8, n_epochs=1, device="cpu")
    normalised = VecNormalize(vec, norm_obs=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returns, lengths = evaluate_policy(
            agent, normalised, n_eval_episodes=4, return_episode_rewards=True
        )
    assert returns == [0.25] * 4
    assert isinstance(lengths, list) and max(lengths) <= 4


def test_texts_and_pictures_are_of_their_rows(make_envs: MakeEnvs) -> None:
    vec = GymnasiumVecEnv(make_envs(2, render_mode="ansi", prompt_order="sequential"))
    vec.reset()
    first, second = vec.env_method("render")
    assert "Hi" in first and "Please help me" in second
    assert vec.env_method("render", indices=[1]) == [second]
    pictures = GymnasiumVecEnv(make_envs(2, render_mode="rgb_array"))
    pictures.reset()
    tiled = pictures.render()
    assert tiled is not None and tiled.ndim == 3 and tiled.dtype == np.uint8


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
    vec.set_attr("mood", "joyful", range(3))
    assert vec.get_attr("mood") == ["joyful"] * 3
    with pytest.raises(ValueError, match="share their attributes"):
        vec.set_attr("mood", "calm", [0])
    assert vec.env_method("render") == [None, None, None]
    assert vec.env_is_wrapped(Monitor, [0, 1]) == [True, True]  # infos have its `episode`
    assert vec.env_is_wrapped(gym.Wrapper) == [False, False, False]
    assert list(vec.get_images()) == [None, None, None]


def test_close_closes_the_environment(make_envs: MakeEnvs) -> None:
    vec = GymnasiumVecEnv(make_envs(1))
    vec.reset()
    vec.close()
    with pytest.raises(RuntimeError, match="closed"):
        vec.reset()
