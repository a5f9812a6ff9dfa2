"""Policy gradient on the learned bias: what an emotion should make likelier, by what users say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from torch import Tensor

from erm_gym.agents.hyperparameters import AgentError
from erm_gym.agents.language_prior import mask_actions
from erm_gym.emotion import EMOTIONS, LogitModulator

TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """Hyperparameters of the policy gradient."""

    tokens: int = 64_000
    """Tokens that are written, over all rows; at least 1."""
    replies_per_prompt: int = 4
    """K, replies to the same prompt that are compared with one another; at least 2."""
    prompts_per_update: int = 16
    """Prompts whose replies make one update; at least 1."""
    emotions: tuple[str, ...] = ("fear", "curiosity", "anger")
    """Whose weights are trained; at least one. The others are felt whatever is asked, so that their
    bias would be there where nothing is to be feared."""
    learning_rate: float = 20.0
    """Step size of gradient ascent, in nats of bias per unit of gradient; above 0."""
    momentum: float = 0.9
    """Share of the last step that is taken again, in [0, 1)."""
    kl_cost: float = 0.02
    """Cost of one nat between the biased LM and the LM, over a reply; at least 0."""
    shrinkage: float = 0.004
    """What every update takes off every weight, in nats; at least 0. It keeps most at 0."""
    limit: float = 3.0
    """Largest bias of a token at a full emotion, up or down, in nats; above 0."""

    def __post_init__(self) -> None:
        allowed = {
            "tokens": self.tokens >= 1,
            "emotions": bool(self.emotions) and set(self.emotions) <= set(EMOTIONS),
            "replies_per_prompt": self.replies_per_prompt >= 2,
            "prompts_per_update": self.prompts_per_update >= 1,
            "learning_rate": self.learning_rate > 0,
            "momentum": 0 <= self.momentum < 1,
            "kl_cost": self.kl_cost >= 0,
            "shrinkage": self.shrinkage >= 0,
            "limit": self.limit > 0,
        }
        for name, is_allowed in allowed.items():
            if not is_allowed:
                raise AgentError(f"{name} is out of range: {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class PolicyGradientReport:
    """The course of the training."""

    feedback: tuple[float, ...]
    """Mean feedback of the replies of each update, in [-1, 1]."""
    kl: tuple[float, ...]
    """Mean divergence from the LM over those replies, in nats."""
    tokens: int
    """Tokens that were written."""


@dataclass
class _Reply:
    """What a policy saw and chose while it wrote one reply of T tokens."""

    emotions: list[Tensor] = field(default_factory=list)  # T x [6]
    candidates: list[Tensor] = field(default_factory=list)  # T x [A]
    prior: list[Tensor] = field(default_factory=list)  # T x [A], hopeless where masked
    actions: list[int] = field(default_factory=list)
    feedback: float = math.nan  # where the user said nothing


def train_modulator_by_feedback(
    modulator: LogitModulator,
    envs: VectorEnv,
    *,
    config: PolicyGradientConfig,
    seed: int,
    progress: Callable[[int, int, float], None] = lambda done, total, feedback: None,
) -> PolicyGradientReport:
    """Follow the gradient of a user's feedback with the weights `W` of a modulator alone.

    The policy is the frozen LM over its candidates plus the modulator's bias, rules and all. The
    advantage of a reply is its feedback less the mean of the other replies to the same prompt, so
    that a prompt that is hard for all teaches nothing; a reply without feedback has none, nor does
    it count among the others. A row that ends early goes on to its next
    prompt under the bias of the moment.

    Args:
        modulator: Its `W` is trained in place; at an emotion of 0 nothing moves before or after.
        envs: `ErmGym/CandidateGeneration-v0` with a critic, no reward but the feedback, and prompts
            in sequence, each K times in succession; its rows are a multiple of K.
        config: Hyperparameters.
        seed: Decides the choices of tokens. No global random state is changed.
        progress: Called with tokens written, tokens in all, and the feedback of the last update.

    Raises:
        AgentError: If the environment has other actions, no emotions, or unfitting rows.

    Source: REINFORCE (Williams 1992) with the leave-one-out baseline of Kool, van Hoof and Welling
    (2019); the proximal step is soft thresholding. The seed names the phase and leaves it open.
    """
    same = config.replies_per_prompt
    space = envs.single_observation_space
    if not isinstance(space, spaces.Dict) or not {"candidates", "emotion"} <= set(space):
        raise AgentError(
            "the bias is trained in ErmGym/CandidateGeneration-v0 with a critic; this environment "
            "has no candidates or no emotions"
        )
    if envs.num_envs % same:
        raise AgentError(f"{envs.num_envs} rows cannot be shared out to {same} replies a prompt")
    learner, device = _Learner(modulator, config), modulator.W.device
    generator = torch.Generator().manual_seed(seed)
    writing = [_Reply() for _ in range(envs.num_envs)]
    finished: dict[tuple[int, int], list[_Reply]] = {}
    rounds = np.zeros(envs.num_envs, dtype=np.int64)
    ready: list[list[_Reply]] = []
    feedback: list[float] = []
    kl: list[float] = []
    done = 0
    observation, _ = envs.reset(seed=seed)
    while done < config.tokens:
        seen = {key: torch.as_tensor(value).cpu() for key, value in observation.items()}
        with torch.no_grad():
            prior = mask_actions(seen["logprobs"].float(), seen)
            bias = modulator(seen["emotion"].to(device), seen["candidates"].to(device)).cpu()
            drawn = torch.multinomial((prior + bias).softmax(-1), 1, generator=generator)
        chosen = drawn.squeeze(-1)
        observation, rewards, ended, cut, infos = envs.step(chosen.numpy())
        done += envs.num_envs
        for row, reply in enumerate(writing):
            reply.emotions.append(seen["emotion"][row])
            reply.candidates.append(seen["candidates"][row])
            reply.prior.append(prior[row])
            reply.actions.append(int(chosen[row]))
            if not (ended[row] or cut[row]):
                continue
            told = infos.get("final_info", {}).get("feedback_given")
            reply.feedback = float(rewards[row]) if told is None or told[row] else math.nan
            key = int(rounds[row]), row // same
            group = finished.setdefault(key, [])
            group.append(reply)
            if len(group) == same:
                ready.append(finished.pop(key))
            writing[row] = _Reply()
            rounds[row] += 1
        if len(ready) >= config.prompts_per_update:
            kl.append(learner.update(ready))
            scores = [reply.feedback for group in ready for reply in group]
            feedback.append(_mean([score for score in scores if not math.isnan(score)]))
            ready = []
        progress(done, config.tokens, feedback[-1] if feedback else math.nan)
    return PolicyGradientReport(feedback=tuple(feedback), kl=tuple(kl), tokens=done)


class _Learner:
    """Gradient ascent with momentum and soft thresholding."""

    def __init__(self, modulator: LogitModulator, config: PolicyGradientConfig) -> None:
        self._modulator, self._config = modulator, config
        self._step = torch.zeros_like(modulator.W)
        rows = [emotion in config.emotions for emotion in EMOTIONS]
        self._trained = torch.tensor(rows, device=modulator.W.device)[:, None]

    def update(self, groups: list[list[_Reply]]) -> float:
        """Takes one step; returns the mean divergence from the LM over a reply, in nats."""
        config, weights = self._config, self._modulator.W
        replies = [reply for group in groups for reply in group]
        advantage = torch.tensor([each for group in groups for each in _advantages(group)])
        lengths = torch.tensor([len(reply.actions) for reply in replies])
        emotions, candidates, prior = (
            torch.stack([row for reply in replies for row in getattr(reply, name)])
            for name in ("emotions", "candidates", "prior")
        )  # [S, 6], [S, A], [S, A] over all S tokens
        actions = torch.tensor([action for reply in replies for action in reply.actions])
        device = weights.device
        with torch.enable_grad():
            weights.requires_grad_(True)
            bias = self._modulator(emotions.to(device), candidates.to(device)).cpu()
            chosen = (prior + bias).log_softmax(-1)
            own = prior.log_softmax(-1)
            kl = (chosen.exp() * (chosen - own)).sum(-1)
            taken = chosen.gather(1, actions[:, None]).squeeze(1)
            gain = taken * advantage.repeat_interleave(lengths) - config.kl_cost * kl
            (gradient,) = torch.autograd.grad(gain.sum() / len(replies), weights)
        with torch.no_grad():
            self._step.mul_(config.momentum).add_(gradient)
            moved = weights + config.learning_rate * (1.0 - config.momentum) * self._step
            shrunk = moved.sign() * (moved.abs() - config.shrinkage).clamp_min(0.0)
            touched = (self._step != 0.0) & self._trained
            limit = config.limit / max(abs(float(self._modulator.scale)), TINY)
            weights.copy_(torch.where(touched, shrunk.clamp(-limit, limit), weights))
        return float(kl.detach().sum()) / len(replies)


def _advantages(group: list[_Reply]) -> list[float]:
    """Feedback of each of K replies less the mean of the others that got any; else 0."""
    scores = [reply.feedback for reply in group]
    told = [score for score in scores if not math.isnan(score)]
    if len(told) < 2:
        return [0.0] * len(group)
    total = sum(told)
    return [
        0.0 if math.isnan(score) else score - (total - score) / (len(told) - 1) for score in scores
    ]


def _mean(scores: list[float]) -> float:
    """0 if there is none."""
    return sum(scores) / len(scores) if scores else 0.0
