"""Fine-tunes what emotions do to a language model by the feedback of a simulated user."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from erm_gym.agents import make_agent
from erm_gym.agents.modulator_gradient import (
    PolicyGradientConfig,
    PolicyGradientReport,
    train_modulator_by_feedback,
)
from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.evaluation.config import RunError, TrainConfig
from erm_gym.evaluation.metrics import Metrics, summarise
from erm_gym.evaluation.rollouts import evaluate
from erm_gym.feedback import PromptPool, load_prompts
from erm_gym.llm import load_llm

AGENT = "emotional-frozen"
"""The frozen LM with the critic's bias and nothing else."""
EVALUATION_SEED = 1_000_000
"""Added to the seed when held-out prompts are asked."""


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What the fine-tuning did."""

    course: PolicyGradientReport
    """Feedback and divergence, update by update."""
    before: Metrics
    """The frozen LM with the critic's bias, on held-out prompts."""
    after: Metrics
    """The same prompts and seeds with the new bias."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON has."""
        return {
            "course": asdict(self.course),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def tune_bias(
    config: TrainConfig,
    gradient: PolicyGradientConfig,
    *,
    split: str = "test",
    progress: Callable[[str, int, int, str], None] = lambda work, done, total, unit: None,
) -> tuple[EmotionalCritic, TuningReport]:
    """Train the weights `W` of a critic's `LogitModulator` by policy gradient.

    Args:
        config: Environment and seed; its agent is not asked, and its critic, which stays as it is,
            is copied.
        gradient: Hyperparameters.
        split: Prompts to measure on; those of `config.train_split`, by default `train`, are learned
            from.
        progress: Called with what is being done, how much is done, how much there is, and its unit.

    Returns:
        A critic with the new bias, and what was measured.

    Raises:
        RunError: If there is no critic.
        PromptError: If a split has no prompts.
        AgentError: If the rows cannot be shared out to the replies of a prompt.
    """
    options = {**config.env_options(), "prior_weight": 0.0, "online_critic": False}
    if options["critic"] is None:
        raise RunError("critic='none' has no bias to tune; give default, a folder or a hub id")
    prompts = load_prompts(options["prompts"]).split(options["split"] or "train")
    order = _repeated(prompts, gradient, config.seed)
    changes = {"prompts": order, "split": "all", "prompt_order": "sequential"}
    llm = load_llm(config.llm, dtype=config.dtype, device=config.device)
    critic = copy.deepcopy(resolve_critic(options["critic"], llm))
    options["critic"] = critic
    envs = candidate_generation_vec(config.num_envs, **{**options, **changes})

    def measure(name: str) -> Metrics:
        records = evaluate(
            make_agent(AGENT, envs, seed=config.seed),
            options,
            split=split,
            num_envs=config.num_envs,
            seed=EVALUATION_SEED + config.seed,
            progress=lambda done, total: progress(f"measuring {name}", done, total, "replies"),
        )
        return summarise(records)

    try:
        before = measure("before")
        course = train_modulator_by_feedback(
            critic.modulator,
            envs,
            config=gradient,
            seed=config.seed,
            progress=lambda done, total, _: progress("tuning the bias", done, total, "tokens"),
        )
        return critic, TuningReport(course=course, before=before, after=measure("after"))
    finally:
        envs.close()


def _repeated(prompts: PromptPool, gradient: PolicyGradientConfig, seed: int) -> PromptPool:
    """Prompts in random order, over and over, each K times in succession."""
    rng = np.random.default_rng(seed)
    groups = math.ceil(gradient.tokens / gradient.replies_per_prompt)
    passes = [rng.permutation(len(prompts)) for _ in range(math.ceil(groups / len(prompts)))]
    chosen = np.concatenate(passes)[:groups]
    return PromptPool(
        tuple(
            prompts.prompts[index] for index in chosen for _ in range(gradient.replies_per_prompt)
        )
    )
