"""Policy gradient on the learned bias: a bandit, one step by hand, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.agents import AgentError
from erm_gym.agents.modulator_gradient import (
    PolicyGradientConfig,
    _advantages,
    _Reply,
    train_modulator_by_feedback,
)
from erm_gym.emotion import EMOTIONS, LogitModulator

TOKENS = 6
CANDIDATES = np.array([1, 2, 4])
GOOD = 2
FEAR = EMOTIONS.index("fear")


class Bandit(VectorEnv[Any, Any, Any]):
    """Replies of one token; the good one is liked. Half of the rows are afraid, the others not."""

    def __init__(self, num_envs: int, afraid: float = 0.5) -> None:
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(len(CANDIDATES))
        self.single_observation_space = spaces.Dict(
            {
                "logprobs": spaces.Box(-np.inf, 0.0, (3,), np.float32),
                "candidates": spaces.Box(0, TOKENS - 1, (3,), np.int64),
                "action_mask": spaces.MultiBinary(3),
                "emotion": spaces.Box(0.0, 1.0, (6,), np.float32),
            }
        )
        emotion = np.zeros((num_envs, 6), np.float32)
        emotion[: num_envs // 2, FEAR] = afraid
        self._observation = {
            "logprobs": np.log(np.tile([0.5, 0.25, 0.25], (num_envs, 1))).astype(np.float32),
            "candidates": np.tile(CANDIDATES, (num_envs, 1)),
            "action_mask": np.ones((num_envs, 3), np.int8),
            "emotion": emotion,
        }
        self.chosen: list[np.ndarray] = []

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self._observation, {}

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.chosen.append(actions)
        liked = np.where(CANDIDATES[actions] == GOOD, 1.0, -1.0)
        return self._observation, liked, np.ones(self.num_envs, bool), liked > 2, {}


def modulator() -> LogitModulator:
    return LogitModulator(TOKENS)


def test_fear_learns_what_is_liked_and_nothing_else_moves() -> None:
    own, envs = modulator(), Bandit(16)
    config = PolicyGradientConfig(
        tokens=4000, replies_per_prompt=4, prompts_per_update=4, learning_rate=4.0
    )
    before = torch.get_rng_state()
    report = train_modulator_by_feedback(own, envs, config=config, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert report.tokens == 4000 and len(report.feedback) == 250
    weights = own.W.detach()
    assert weights[FEAR, GOOD] > 1.0 and weights[FEAR, 1] < 0.0
    assert (weights.abs() * own.scale).max() <= config.limit + 1e-6
    others = weights.clone()
    others[FEAR, CANDIDATES] = 0.0
    assert not others.any()
    late = np.stack(envs.chosen[-100:]) == 1  # the rank of the good one
    assert late[:, :8].mean() > 0.4 and late[:, 8:].mean() == pytest.approx(0.25, abs=0.05)
    again = modulator()
    assert train_modulator_by_feedback(again, Bandit(16), config=config, seed=0) == report
    assert torch.equal(again.W, own.W)


def test_one_step_by_hand() -> None:
    """One prompt, two replies, one of them liked: the gradient of the leave-one-out objective."""
    own, envs = modulator(), Bandit(2, afraid=1.0)
    envs._observation["emotion"][:, FEAR] = 1.0
    with torch.no_grad():
        own.W[FEAR, 4] = 0.4
    config = PolicyGradientConfig(
        tokens=2,
        replies_per_prompt=2,
        prompts_per_update=1,
        learning_rate=2.0,
        momentum=0.0,
        kl_cost=0.3,
        shrinkage=0.001,
    )
    seed = next(
        seed
        for seed in range(50)
        if len(set(first_choices(seed).tolist()) & {1}) == 1
        and first_choices(seed)[0] != first_choices(seed)[1]
    )
    scale = float(own.scale.detach())
    rules = [own.config.rule_gain * float(own.get_buffer("cautious")[i]) for i in CANDIDATES]
    assert rules == [0.0, 0.0, 0.0]
    train_modulator_by_feedback(own, envs, config=config, seed=seed)
    logits = [math.log(0.5), math.log(0.25), math.log(0.25) + scale * 0.4]
    total = sum(map(math.exp, logits))
    policy = [math.exp(each) / total for each in logits]
    log_ratio = [math.log(p / q) for p, q in zip(policy, (0.5, 0.25, 0.25), strict=True)]
    kl = sum(p * each for p, each in zip(policy, log_ratio, strict=True))
    chosen = envs.chosen[0].tolist()
    wanted = []
    for index in range(3):
        gain = 0.0
        for action in chosen:
            advantage = 2.0 if action == 1 else -2.0
            gain += advantage * ((action == index) - policy[index])
            gain -= 0.3 * policy[index] * (log_ratio[index] - kl)
        moved = (0.4 if index == 2 else 0.0) + 2.0 * scale * gain / 2
        wanted.append(math.copysign(max(0.0, abs(moved) - 0.001), moved))
    assert own.W[FEAR, CANDIDATES].tolist() == pytest.approx(wanted, abs=1e-5)


def first_choices(seed: int) -> np.ndarray:
    """What two rows choose first under the policy of the test by hand."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().repeat(2, 1)
    logits[:, 2] += 0.4 * float(modulator().scale.detach())
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1).numpy()


def test_only_named_emotions_are_trained() -> None:
    own = modulator()
    config = PolicyGradientConfig(
        tokens=400, replies_per_prompt=4, prompts_per_update=4, emotions=("joy", "anger")
    )
    train_modulator_by_feedback(own, Bandit(16), config=config, seed=0)
    assert not own.W.any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("emotions", ()),
        ("emotions", ("dread",)),
        ("tokens", 0),
        ("replies_per_prompt", 1),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
    ],
)
def test_hyperparameters_are_checked(field: str, value: object) -> None:
    with pytest.raises(AgentError, match=f"{field} is out of range"):
        PolicyGradientConfig(**{field: value})  # type: ignore[arg-type]


def test_environments_that_do_not_fit() -> None:
    config = PolicyGradientConfig()
    with pytest.raises(AgentError, match="6 rows cannot be shared out to 4"):
        train_modulator_by_feedback(modulator(), Bandit(6), config=config, seed=0)
    other = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
    with pytest.raises(AgentError, match="no candidates or no emotions"):
        train_modulator_by_feedback(modulator(), other, config=config, seed=0)


def test_a_reply_without_feedback_has_no_advantage() -> None:
    def group(*scores: float) -> list[float]:
        return _advantages([_Reply(feedback=score) for score in scores])

    assert group(1.0, 0.0, 0.5, -0.5) == pytest.approx([1.0, -1 / 3, 1 / 3, -1.0])
    assert group(1.0, math.nan, 0.0, math.nan) == [1.0, 0.0, -1.0, 0.0]
    assert group(1.0, math.nan, math.nan) == [0.0, 0.0, 0.0]
