"""Steering strength that an agent learns, beside the best fixed one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.vector_env import VectorActionWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from erm_gym.agents import GymnasiumVecEnv
from erm_gym.envs.text.control import ACTION_SIZE
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.evaluation.config import RunError, RunInterrupted
from erm_gym.evaluation.rollouts import choose_prompts
from erm_gym.evaluation.statistics import (
    Interval,
    mean,
    probability_of_improvement,
    stratified_bootstrap,
)
from erm_gym.evaluation.steering.settings import about_critic, about_llm
from erm_gym.evaluation.storage import read_results, write_json
from erm_gym.feedback import PromptPool, load_prompts
from erm_gym.llm import FrozenLLM
from erm_gym.llm.digest import digest
from erm_gym.steering import ContrastiveDirections, FittedSteering

FILE = "adaptive.json"
ENV = "erm_gym:ErmGym/EmotionControl-v0"
UNSTEERED, FIXED, ADAPTIVE = "unsteered", "best fixed", "adaptive"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """What is learned, and how it is judged."""

    emotion: str = "fear"
    """Direction of the steering."""
    user: str = "risk-averse"
    """Whose feedback counts: this one wants care where there is risk, and none elsewhere."""
    max_steering: float = 6.0
    """Most that is added, towards the emotion or away from it."""
    fixed: tuple[float, ...] = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
    """Fixed strengths that are tried."""
    episodes: int = 2400
    """Replies that an agent learns from, and that all fixed strengths together are tried on."""
    tokens_per_action: int = 10
    """Tokens that are written under one strength."""
    max_new_tokens: int = 30
    """Longest reply."""
    num_envs: int = 32
    """Replies that are written side by side."""
    evaluation_prompts: int = 160
    """Held-out prompts."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the training, and of the replies to the held-out prompts."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            RunError: It names the field and what is allowed.
        """
        if not self.fixed or not all(abs(one) <= self.max_steering for one in self.fixed):
            raise RunError(f"fixed must be within ±max_steering, {self.max_steering}")
        if not 0.0 < self.max_steering < math.inf:
            raise RunError(f"max_steering must be finite and above 0, got {self.max_steering}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise RunError(f"seeds must be different, at least one, got {self.seeds}")
        for name in ("episodes", "tokens_per_action", "max_new_tokens", "num_envs"):
            if getattr(self, name) < 1:
                raise RunError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.evaluation_prompts < 2:
            raise RunError(f"evaluation_prompts must be 2 at least, got {self.evaluation_prompts}")


class Strengths(Protocol):
    """Chooses strengths."""

    def __call__(self, observations: Any) -> np.ndarray:
        """One in [-1, 1] for each row, `[B, 1]` float32."""


class SteeringOnly(VectorActionWrapper):
    """Leaves an agent the steering strength alone; the rest of its action stays 0.

    A reply that reaches the most tokens ends there for good: the user's feedback is given, and
    nothing that an agent could hope for comes behind it.
    """

    def __init__(self, env: VectorEnv) -> None:
        """Wraps.

        Args:
            env: `ErmGym/EmotionControl-v0` with the option `steering`.

        Raises:
            ValueError: If its actions have no steering strength.
        """
        super().__init__(env)
        if env.single_action_space.shape != (ACTION_SIZE + 1,):
            raise ValueError(
                "the actions of this environment have no steering strength; make it with steering="
            )
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, env.num_envs)

    def step(self, actions: Any) -> Any:
        """Writes on; a reply that was cut off counts as ended."""
        observations, rewards, terminated, truncated, infos = super().step(actions)
        return observations, rewards, terminated | truncated, np.zeros_like(truncated), infos

    def actions(self, actions: Any) -> Any:
        """The whole actions `[B, 9]` for strengths `[B, 1]`."""
        whole = np.zeros((len(actions), ACTION_SIZE + 1), np.float32)
        whole[:, ACTION_SIZE:] = actions
        return whole


def learn_strength(
    llm: FrozenLLM,
    directions: ContrastiveDirections,
    config: AdaptiveConfig,
    out: Path,
    progress: Progress = lambda name, done, total: None,
) -> dict[str, Any]:
    """Learns, tries fixed strengths, and compares on held-out prompts; called again, it goes on.

    Args:
        llm: The frozen LM.
        directions: Of the emotion, among others.
        config: What is learned.
        out: Folder for `adaptive.json`.
        progress: Called as parts are done.

    Returns:
        The config; `tried`, mean score of each fixed strength on training prompts; `agents`, by
        name: score with its 95% interval over prompts and seeds, the mean strength of its replies
        and their standard deviation, and for fixed ones how probably the adaptive agent is better;
        and a verdict.

    Raises:
        RunError: If the folder holds results of other settings.
        RunInterrupted: If it was stopped; what was finished is kept.
        ValueError: If there is no direction of the emotion.
    """
    path = out / FILE
    results = kept_parts(llm, directions, config, out)
    results.setdefault("parts", {})
    held_out = choose_prompts(load_prompts("default").split("test"), config.evaluation_prompts)
    parts = [f"tried {one:g}" for one in config.fixed]
    parts += [f"{who} {seed}" for who in (ADAPTIVE, UNSTEERED, FIXED) for seed in config.seeds]
    run = _Run(llm, directions, config, held_out, results["parts"])
    try:
        for number, part in enumerate(parts):
            if part not in results["parts"]:
                results["parts"][part] = run.part(part)
                write_json(path, results)
            progress(part, number + 1, len(parts))
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            f"stopped; finished parts are kept in {path}; give the same command to go on"
        ) from error
    results |= _judge(run)
    write_json(path, results)
    return results


def kept_parts(
    llm: FrozenLLM, directions: ContrastiveDirections, config: AdaptiveConfig, out: Path
) -> dict[str, Any]:
    """What an earlier call of `learn_strength` kept; arguments and errors as for that."""
    directions.number(config.emotion)
    asked = {
        **asdict(config),
        "llm": about_llm(llm),
        "critic": about_critic(resolve_critic("default", llm)),
        "prompts": digest(prompt.text.encode() for prompt in load_prompts("default")),
        "steering": FittedSteering(directions=directions).about(),
    }
    return read_results(out / FILE, asked)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of playing prompts."""

    scores: np.ndarray
    """`[prompts]` the user's feedback, in [-1, 1]."""
    strengths: np.ndarray
    """`[prompts]` mean strength that replies were written under, as added."""


class _Run:
    """Plays and trains under one config."""

    def __init__(
        self,
        llm: FrozenLLM,
        directions: ContrastiveDirections,
        config: AdaptiveConfig,
        held_out: PromptPool,
        parts: dict[str, Any],
    ) -> None:
        self.config = config
        self.held_out = held_out
        self.parts = parts
        self._options = {
            "llm": llm,
            "user": config.user,
            "steering": directions,
            "steer_towards": config.emotion,
            "max_steering": config.max_steering,
            "tokens_per_action": config.tokens_per_action,
            "max_new_tokens": config.max_new_tokens,
        }

    def envs(self, rows: int, **options: Any) -> SteeringOnly:
        """The environment."""
        return SteeringOnly(gym.make_vec(ENV, num_envs=rows, **{**self._options, **options}))

    def part(self, name: str) -> dict[str, Any]:
        """Tries a fixed strength on training prompts, or plays held-out prompts under a seed."""
        kind, value = name.rsplit(" ", 1)
        if kind == "tried":
            count = max(2, self.config.episodes // len(self.config.fixed))
            prompts = choose_prompts(load_prompts("default").split("train"), count)
            return {"score": mean(self.play(self.fixed(float(value)), prompts, seed=1000).scores)}
        seed = int(value)
        if kind == ADAPTIVE:
            choose = self.learn(seed)
        else:
            choose = self.fixed(0.0 if kind == UNSTEERED else self.best_fixed())
        played = self.play(choose, self.held_out, seed=seed)
        return {"scores": played.scores.tolist(), "strengths": played.strengths.tolist()}

    def tried(self) -> dict[float, float]:
        """Mean score of each fixed strength on training prompts."""
        return {one: float(self.parts[f"tried {one:g}"]["score"]) for one in self.config.fixed}

    def best_fixed(self) -> float:
        """The fixed strength that did best there."""
        tried = self.tried()
        return max(tried, key=lambda one: tried[one])

    def fixed(self, strength: float) -> Strengths:
        """Always the same strength."""
        action = strength / self.config.max_steering

        def choose(observations: Any) -> np.ndarray:
            return np.full((len(observations["hidden"]), 1), action, np.float32)

        return choose

    def play(self, choose: Strengths, prompts: PromptPool, *, seed: int) -> Played:
        """Answers every prompt once, in order."""
        rows = min(self.config.num_envs, len(prompts))
        envs = self.envs(rows, prompts=prompts, split="all", prompt_order="sequential")
        scores, strengths = np.full(len(prompts), np.nan), np.full(len(prompts), np.nan)
        at = np.arange(rows)
        total, added, steps = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        try:
            observations, _ = envs.reset(seed=seed)
            while np.isnan(scores).any():
                actions = choose(observations)
                observations, rewards, terminated, truncated, _ = envs.step(actions)
                total += rewards
                added += actions[:, 0] * self.config.max_steering
                steps += 1
                for row in np.flatnonzero(terminated | truncated):
                    if at[row] < len(prompts):
                        scores[at[row]] = total[row]
                        strengths[at[row]] = added[row] / steps[row]
                    at[row] += rows
                    total[row] = added[row] = steps[row] = 0
        finally:
            envs.close()
        return Played(scores=scores, strengths=strengths)

    def learn(self, seed: int) -> Strengths:
        """Trains an agent; what it gives back is its best guess of strength."""
        config = self.config
        envs = self.envs(config.num_envs, split="train")
        steps = 2 * math.ceil(config.max_new_tokens / config.tokens_per_action)
        wrapped = VecNormalize(GymnasiumVecEnv(envs), norm_reward=False)
        agent = PPO(
            "MultiInputPolicy",
            wrapped,
            n_steps=steps,
            batch_size=max(2, steps * config.num_envs // 4),
            learning_rate=1e-3,
            gamma=1.0,
            seed=seed,
            device="cpu",
        )
        try:
            agent.learn(10**9, callback=_Until(config.episodes))
        finally:
            envs.close()

        def choose(observations: Any) -> np.ndarray:
            actions, _ = agent.predict(wrapped.normalize_obs(observations), deterministic=True)
            return actions

        return choose


class _Until(BaseCallback):
    """Ends training after a number of episodes."""

    def __init__(self, episodes: int) -> None:
        super().__init__()
        self._left = episodes

    def _on_step(self) -> bool:
        self._left -= int(np.sum(self.locals["dones"]))
        return self._left > 0


def _judge(run: _Run) -> dict[str, Any]:
    """Everybody on the held-out prompts, with the same seeds."""
    best, seeds = run.best_fixed(), run.config.seeds
    names = {ADAPTIVE: ADAPTIVE, FIXED: f"{FIXED} ({best:g})", UNSTEERED: UNSTEERED}
    found: dict[str, Any] = {}
    learned = np.array([run.parts[f"{ADAPTIVE} {seed}"]["scores"] for seed in seeds])
    for who, name in names.items():
        played = [run.parts[f"{who} {seed}"] for seed in seeds]
        scores = np.array([one["scores"] for one in played])  # [seeds, prompts]
        strengths = np.array([one["strengths"] for one in played])
        found[name] = {
            "score": _interval(scores),
            "strength": float(strengths.mean()),
            "spread": float(strengths.std(axis=1).mean()),
        }
        if who != ADAPTIVE:
            rng = np.random.default_rng(0)
            found[name]["improvement"] = probability_of_improvement(learned, scores, rng)
    verdict = _verdict(found[names[FIXED]]["improvement"])
    return {"tried": run.tried(), "agents": found, "verdict": verdict}


def _verdict(better: Interval) -> str:
    if better.low > 0.5:
        return (
            "Replies under learned strength are more probably better than under the best fixed one."
        )
    if better.high < 0.5:
        return (
            "Replies under learned strength are more probably worse than under the best fixed one."
        )
    return "Whether learned strength beats the best fixed one is undecided."


def _interval(scores: np.ndarray) -> Interval:
    return stratified_bootstrap(scores, mean, np.random.default_rng(0))
