"""Algorithms of Stable-Baselines3 and of its contrib package, as they come, on the bridge."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch import Tensor

from erm_gym.agents import GymnasiumVecEnv
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.control import emotion_control_vec
from erm_gym.envs.text.conversation import conversation_vec
from erm_gym.envs.text.token import token_generation_vec
from erm_gym.llm import FrozenLLM

MakeEnvs = Callable[..., VectorEnv]

SMALL: dict[str, Any] = {"net_arch": [16]}
ROLLOUT: dict[str, Any] = {"n_steps": 8, "batch_size": 12, "n_epochs": 2, "policy_kwargs": SMALL}
REPLAY: dict[str, Any] = {
    "learning_starts": 16,
    "buffer_size": 256,
    "batch_size": 16,
    "policy_kwargs": SMALL,
}
LSTM: dict[str, Any] = {**ROLLOUT, "policy_kwargs": {**SMALL, "lstm_hidden_size": 16}}
CANDIDATES: dict[str, Any] = {"kind": candidate_generation_vec}
NUCLEUS: dict[str, Any] = {"kind": candidate_generation_vec, "top_p": 0.5}
TOKENS: dict[str, Any] = {"kind": token_generation_vec}
CONTROL: dict[str, Any] = {"kind": emotion_control_vec, "tokens_per_action": 2}
TALK: dict[str, Any] = {"kind": conversation_vec, "top_p": 0.5, "max_turns": 2}
TALK_CONTROL: dict[str, Any] = {**CONTROL, "kind": conversation_vec, "actions": "control"}

CASES: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any], dict[str, Any]]] = {
    "PPO": (PPO, "MultiInputPolicy", ROLLOUT, CANDIDATES),
    "PPO-tokens": (PPO, "MultiInputPolicy", ROLLOUT, TOKENS),
    "PPO-control": (PPO, "MultiInputPolicy", ROLLOUT, CONTROL),
    "A2C": (A2C, "MultiInputPolicy", {}, CANDIDATES),
    "DQN": (DQN, "MultiInputPolicy", REPLAY, CANDIDATES),
    "QRDQN": (QRDQN, "MultiInputPolicy", REPLAY, CANDIDATES),
    "SAC": (SAC, "MultiInputPolicy", REPLAY, CONTROL),
    "SAC-conversation": (SAC, "MultiInputPolicy", REPLAY, TALK_CONTROL),
    "MaskablePPO": (MaskablePPO, "MultiInputPolicy", ROLLOUT, NUCLEUS),
    "MaskablePPO-conversation": (MaskablePPO, "MultiInputPolicy", ROLLOUT, TALK),
    "RecurrentPPO": (RecurrentPPO, "MultiInputLstmPolicy", LSTM, CANDIDATES),
}
"""Algorithm, policy, settings and environment."""
OFF_POLICY = ["DQN", "QRDQN", "SAC", "SAC-conversation"]


def bridge(make_envs: MakeEnvs, case: str, num_envs: int = 3) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(make_envs(num_envs, **CASES[case][3]))


def make(case: str, vec: VecEnv, **settings: Any) -> BaseAlgorithm:
    algorithm: Any
    algorithm, policy, own, _ = CASES[case]
    keywords = copy.deepcopy({**own, **settings})  # algorithms write into their policy_kwargs
    agent: BaseAlgorithm = algorithm(policy, vec, seed=0, device="cpu", **keywords)
    return agent


def parameters(agent: BaseAlgorithm) -> dict[str, Tensor]:
    """Copies of all that it learns."""
    return {name: value.clone() for name, value in agent.policy.state_dict().items()}


def choose(agent: BaseAlgorithm, vec: VecEnv, observations: Any, *, best: bool) -> np.ndarray:
    if isinstance(agent, MaskablePPO):
        masks = get_action_masks(vec)
        return agent.predict(observations, deterministic=best, action_masks=masks)[0]
    return agent.predict(observations, deterministic=best)[0]


# -- learning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_it_learns_from_the_bridge_and_acts_in_the_environment(
    make_envs: MakeEnvs, llm: FrozenLLM, case: str
) -> None:
    frozen = {name: value.clone() for name, value in llm.model.state_dict().items()}
    vec = bridge(make_envs, case)
    agent = make(case, vec)
    before = parameters(agent)
    agent.learn(72)
    assert agent.num_timesteps >= 72
    after = parameters(agent)
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    for name, value in llm.model.state_dict().items():
        assert torch.equal(value, frozen[name]), name
    assert agent.ep_info_buffer  # the episodes that it logs
    observations = vec.reset()
    for step in range(9):
        actions = choose(agent, vec, observations, best=step % 2 == 0)
        assert vec.vector_env.action_space.contains(actions)
        if isinstance(vec.action_space, gym.spaces.Box):
            assert actions.dtype == np.float32 and float(np.abs(actions).max()) <= 1.0
        observations, *_ = vec.step(actions)


@pytest.mark.parametrize("case", [case for case in CASES if "-" not in case])
def test_it_is_saved_and_loaded_with_the_bridge(
    make_envs: MakeEnvs, tmp_path: Path, case: str
) -> None:
    vec = bridge(make_envs, case)
    agent = make(case, vec).learn(24)
    agent.save(tmp_path / "agent.zip")
    loaded = CASES[case][0].load(tmp_path / "agent.zip", env=bridge(make_envs, case), device="cpu")
    expected = parameters(agent)
    assert parameters(loaded).keys() == expected.keys()
    for name, value in parameters(loaded).items():
        assert torch.equal(value, expected[name]), name
    observations = vec.reset()
    np.testing.assert_array_equal(
        choose(loaded, vec, observations, best=True), choose(agent, vec, observations, best=True)
    )
    loaded.learn(48)  # and goes on
    assert any(not torch.equal(value, expected[name]) for name, value in parameters(loaded).items())


def test_training_on_the_bridge_is_reproducible(make_envs: MakeEnvs) -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        agent = make("SAC", bridge(make_envs, "SAC"))
        agent.set_random_seed(seed)
        return parameters(agent.learn(24))

    one, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


# -- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["MaskablePPO", "MaskablePPO-conversation"])
def test_masks_are_those_of_the_rows(make_envs: MakeEnvs, case: str) -> None:
    vec = bridge(make_envs, case, 4)
    assert is_masking_supported(vec)
    observations: Any = vec.reset()
    forbidden = 0
    for _ in range(8):
        masks = get_action_masks(vec)
        assert masks.shape == (4, 8) and masks.dtype == bool
        np.testing.assert_array_equal(masks, observations["action_mask"] == 1)
        assert masks.any(axis=1).all()
        forbidden += int((~masks).sum())
        np.testing.assert_array_equal(
            np.stack(vec.env_method("action_masks", indices=[2])), masks[2:3]
        )
        observations, *_ = vec.step(masks.argmax(axis=1))
    assert forbidden > 8


@pytest.mark.parametrize("wrap", [VecMonitor, lambda vec: VecNormalize(vec, norm_obs=False)])
def test_masks_pass_through_wrappers(make_envs: MakeEnvs, wrap: Callable[[VecEnv], VecEnv]) -> None:
    vec = bridge(make_envs, "MaskablePPO")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # VecMonitor says that the bridge is one already
        wrapped = wrap(vec)
    wrapped.reset()
    np.testing.assert_array_equal(get_action_masks(wrapped), get_action_masks(vec))
    make("MaskablePPO", wrapped).learn(24)


@pytest.mark.parametrize("case", ["MaskablePPO", "MaskablePPO-conversation"])
def test_no_masked_action_is_ever_chosen(make_envs: MakeEnvs, case: str) -> None:
    """While it explores, learns and is evaluated; the environment would raise."""
    vec = bridge(make_envs, case, 4)
    agent = make(case, vec)
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    step_async = vec.step_async

    def noted(actions: np.ndarray) -> None:
        chosen.append((get_action_masks(vec), np.array(actions)))
        step_async(actions)

    vec.step_async = noted  # type: ignore[method-assign]
    assert isinstance(agent, MaskablePPO)
    agent.learn(96)
    evaluate_masked(agent, vec, n_eval_episodes=8, deterministic=False, warn=False)
    allowed = [masks[np.arange(4), actions] for masks, actions in chosen]
    assert len(chosen) > 26 and np.all(allowed)
    assert np.mean([masks.mean() for masks, _ in chosen]) < 0.9  # masks did forbid something


def test_without_the_masks_the_environment_says_what_is_wrong(make_envs: MakeEnvs) -> None:
    vec = bridge(make_envs, "MaskablePPO", 4)
    agent = PPO("MultiInputPolicy", vec, seed=0, device="cpu", n_steps=64, batch_size=64)
    with pytest.raises(ValueError, match=r"masked: with top_p=0.5.*observation\['action_mask'\]"):
        agent.learn(256)


# -- replay ----------------------------------------------------------------------------------------


def replayed(agent: BaseAlgorithm) -> DictReplayBuffer:
    assert isinstance(agent, OffPolicyAlgorithm)
    assert isinstance(agent.replay_buffer, DictReplayBuffer)
    return agent.replay_buffer


@pytest.mark.parametrize("case", OFF_POLICY)
def test_buffers_hold_what_was_observed_and_why_episodes_ended(
    make_envs: MakeEnvs, case: str
) -> None:
    vec = bridge(make_envs, case)
    agent = make(case, vec)
    steps: list[tuple[Any, Any, Any, Any, Any]] = []
    step = vec.vector_env.step

    def noted(actions: Any) -> Any:
        steps.append(step(actions))
        return steps[-1]

    vec.vector_env.step = noted  # type: ignore[method-assign]
    agent.learn(96)
    buffer = replayed(agent)
    assert buffer.pos == len(steps) == 32
    ends = {"terminated": 0, "truncated": 0}
    for place, (observations, rewards, terminated, truncated, infos) in enumerate(steps):
        np.testing.assert_array_equal(buffer.rewards[place], rewards.astype(np.float32))
        np.testing.assert_array_equal(buffer.dones[place], terminated | truncated)
        np.testing.assert_array_equal(buffer.timeouts[place], truncated & ~terminated)
        ends["terminated"] += int(terminated.sum())
        ends["truncated"] += int(truncated.sum())
        for row in range(3):
            ended = bool(terminated[row] or truncated[row])
            for name, stored in buffer.next_observations.items():
                seen = infos["final_obs"][row][name] if ended else observations[name][row]
                np.testing.assert_array_equal(stored[place, row], seen, err_msg=name)
                if place + 1 < len(steps):  # and the next step begins where the reset put it
                    kept = buffer.observations[name][place + 1, row]
                    np.testing.assert_array_equal(kept, observations[name][row], err_msg=name)
    assert ends["truncated"] > 0 and (ends["terminated"] > 0 or "SAC" in case)
    sampled = buffer.sample(512)
    assert set(sampled.dones.unique().tolist()) <= {0.0, 1.0}
    both = buffer.dones * (1 - buffer.timeouts)
    assert float(both[: buffer.pos].sum()) == ends["terminated"]


@pytest.mark.parametrize("case", ["DQN", "QRDQN"])
def test_token_ids_and_masks_keep_their_types(make_envs: MakeEnvs, case: str) -> None:
    vec = bridge(make_envs, case)
    buffer = replayed(make(case, vec).learn(48))
    assert buffer.observations["candidates"].dtype == np.int64
    assert buffer.observations["action_mask"].dtype == np.int8
    assert buffer.observations["hidden"].dtype == np.float32
    assert int(buffer.observations["candidates"].max()) > 127  # more than an int8 could hold
    # Where an algorithm makes float32 of them, every id of SmolLM2 stays what it is.
    ids = torch.arange(49_152 + 1)
    assert torch.equal(ids.float().long(), ids)


def test_a_truncated_reply_can_be_taken_as_final(make_envs: MakeEnvs) -> None:
    vec = bridge(make_envs, "SAC")
    settings = {"replay_buffer_kwargs": {"handle_timeout_termination": False}}
    buffer = replayed(make("SAC", vec, **settings).learn(48))
    assert float(buffer.dones.sum()) > 0.0 and float(buffer.timeouts.sum()) == 0.0


# -- wrappers --------------------------------------------------------------------------------------


def test_a_monitor_over_the_bridge_counts_the_same(make_envs: MakeEnvs, tmp_path: Path) -> None:
    vec = bridge(make_envs, "PPO")
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        monitored = VecMonitor(vec, str(tmp_path / "log"), info_keywords=("feedback",))
    monitored.seed(0)
    monitored.reset()
    own: list[dict[str, Any]] = []
    step_wait = vec.step_wait

    def noted() -> Any:
        result = step_wait()
        own.extend(info["episode"] for info in result[3] if "episode" in info)
        return result

    vec.step_wait = noted  # type: ignore[method-assign]
    theirs: list[dict[str, Any]] = []
    for step in range(12):
        _, _, _, infos = monitored.step(np.full(3, step % 3))
        theirs.extend(info["episode"] for info in infos if "episode" in info)
    assert len(own) == len(theirs) >= 9
    for one, other in zip(own, theirs, strict=True):
        assert one["l"] == other["l"] and one["r"] == pytest.approx(other["r"], abs=1e-6)
        assert other["feedback"] == pytest.approx(other["r"], abs=1e-6)
    monitored.close()
    assert len((tmp_path / "log.monitor.csv").read_text().splitlines()) == 2 + len(own)


@pytest.mark.parametrize("case", ["PPO", "SAC"])
def test_rewards_can_be_normalised(make_envs: MakeEnvs, tmp_path: Path, case: str) -> None:
    vec = bridge(make_envs, case)
    normalised = VecNormalize(vec, norm_obs=False, gamma=0.9)
    agent = make(case, normalised).learn(48)
    assert normalised.ret_rms.var != 1.0
    raw = [info["r"] for info in agent.ep_info_buffer or []]
    assert raw and all(0.0 <= value <= 1.0 for value in raw)  # the user's feedback, as it was
    agent.save(tmp_path / "agent.zip")
    normalised.save(str(tmp_path / "normaliser.pkl"))
    again = VecNormalize.load(str(tmp_path / "normaliser.pkl"), bridge(make_envs, case))
    assert again.ret_rms.var == normalised.ret_rms.var
    CASES[case][0].load(tmp_path / "agent.zip", env=again, device="cpu").learn(24)


def test_observations_can_be_normalised_by_name(make_envs: MakeEnvs) -> None:
    """The terminal observation, too, and neither candidates nor masks."""
    vec = bridge(make_envs, "PPO")
    normalised = VecNormalize(vec, norm_reward=False, norm_obs_keys=["hidden"], clip_obs=0.5)
    observations: Any = normalised.reset()
    for step in range(8):
        observations, _, dones, infos = normalised.step(np.full(3, step % 3))
        assert float(np.abs(observations["hidden"]).max()) <= 0.5
        np.testing.assert_array_equal(
            observations["candidates"], normalised.get_original_obs()["candidates"]
        )
        for row in np.flatnonzero(dones):
            last = infos[row]["terminal_observation"]
            assert float(np.abs(last["hidden"]).max()) <= 0.5
            assert last["candidates"].dtype == np.int64 and last["candidates"].max() > 0
    make("PPO", normalised).learn(48)
