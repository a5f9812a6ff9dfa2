"""All that is measured of steering, and the page that tells of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from erm_gym.emotion.training.datasets import read_emobank
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.rollouts import choose_prompts
from erm_gym.evaluation.steering.adaptive import AdaptiveConfig, learn_strength
from erm_gym.evaluation.steering.effects import EffectConfig, measure_effects
from erm_gym.evaluation.steering.page import PAGE, write_page
from erm_gym.evaluation.steering.picture import (
    AFFECT_PICTURE,
    REPLIES_PICTURE,
    plot_affect,
    plot_replies,
)
from erm_gym.evaluation.steering.readers import CriticReader, EmotionReader, LexiconReader
from erm_gym.evaluation.steering.sweep import SweepConfig, sweep
from erm_gym.evaluation.steering.tables import tables
from erm_gym.evaluation.storage import write_json
from erm_gym.feedback import load_prompts
from erm_gym.llm import FrozenLLM
from erm_gym.steering import ContrastiveDirections

FOLDER, QUICK_FOLDER = "steering", "steering_quick"
TABLES = "tables.json"
PROMPTS = 64
"""Held-out prompts that replies are written to."""
QUICK_TEXTS, QUICK_TEST = 300, 60
QUICK_AFFECT: dict[str, Any] = {
    "strengths": (1.0, 2.0, 10.0),
    "seeds": (0,),
    "feedback_texts": 60,
    "perplexity_texts": 4,
}
QUICK_REPLIES: dict[str, Any] = {"strengths": (4.0,), "max_new_tokens": 8}
QUICK_CONTROL: dict[str, Any] = {
    "fixed": (0.0, 4.0),
    "episodes": 16,
    "max_new_tokens": 6,
    "tokens_per_action": 3,
    "num_envs": 4,
    "evaluation_prompts": 4,
    "seeds": (0,),
}
"""Enough to show that everything runs."""

Load = Callable[[str], FrozenLLM]
Progress = Callable[[str, int, int], None]


def measure_steering(
    load: Load,
    *,
    data: Path,
    steering: Path,
    out: Path,
    parts: Sequence[str],
    head_layer: int = 18,
    target_layers: Sequence[int] = (14, 16),
    quick: bool = False,
    writing_dtype: str = "bfloat16",
    progress: Progress = lambda work, done, total: None,
) -> dict[str, Any]:
    """Measures and writes the page; called again, it goes on.

    Args:
        load: Loads the frozen LM in a precision.
        data: Folder with emobank_train.csv and emobank_dev.csv.
        steering: Folder with directions.
        out: Folder for `steering.md`, pictures, and a folder with all results.
        parts: Which of `affect`, `replies` and `control` are measured.
        head_layer: Hidden layer that affect is read in.
        target_layers: Hidden layers below it that are steered for that.
        quick: Few texts, seeds and episodes.
        writing_dtype: Precision of the LM while it writes replies.
        progress: Told what is done, how much of it, and of how much.

    Returns:
        Results by part.

    Raises:
        RunError: If a part is unknown, or results of other settings are in the way.
        RunInterrupted: If it was stopped; what was finished is kept.
    """
    unknown = set(parts) - {"affect", "replies", "control"}
    if unknown or not parts:
        raise RunError(f"parts are affect, replies and control, got {', '.join(parts) or 'none'}")
    folder = out / (QUICK_FOLDER if quick else FOLDER)
    out = folder if quick else out  # figures that mean nothing never replace others
    found: dict[str, Any] = {}
    if "affect" in parts:
        config = SweepConfig(
            head_layer=head_layer,
            target_layers=tuple(target_layers),
            **(QUICK_AFFECT if quick else {}),
        )
        found["affect"] = _affect(load("float32"), data, config, folder, progress, quick=quick)
        plot_affect(found["affect"], out / AFFECT_PICTURE)
    if {"replies", "control"} & set(parts):
        directions = ContrastiveDirections.load(steering)
        llm = load(writing_dtype)
        directions.require(llm)
        if "replies" in parts:
            found["replies"] = _replies(llm, directions, folder, quick, progress)
            plot_replies(found["replies"], out / REPLIES_PICTURE)
        if "control" in parts:
            control = AdaptiveConfig(**(QUICK_CONTROL if quick else {}))
            found["control"] = learn_strength(llm, directions, control, folder, progress)
    write_page(out / PAGE, found, quick=quick)
    return found


def _affect(
    llm: FrozenLLM,
    data: Path,
    config: SweepConfig,
    folder: Path,
    progress: Progress,
    *,
    quick: bool,
) -> dict[str, Any]:
    training, test = (read_emobank(data / f"emobank_{name}.csv") for name in ("train", "dev"))
    if quick:
        training, test = (
            one.select(torch.arange(min(count, len(one))))
            for one, count in ((training, QUICK_TEXTS), (test, QUICK_TEST))
        )
    results = sweep(llm, training, test, config, folder, progress=progress)
    found = {"config": results["config"]}
    found |= tables(results, folder, config, test.values[:, :2].numpy())
    write_json(folder / TABLES, found)
    return found


def _replies(
    llm: FrozenLLM,
    directions: ContrastiveDirections,
    folder: Path,
    quick: bool,
    progress: Progress,
) -> dict[str, Any]:
    pool = choose_prompts(load_prompts("default").split("test"), 8 if quick else PROMPTS)
    config = EffectConfig(
        prompts=tuple(prompt.text for prompt in pool), **(QUICK_REPLIES if quick else {})
    )
    readers: list[EmotionReader] = [
        CriticReader(llm, resolve_critic("default", llm)),
        LexiconReader(),
    ]
    return measure_effects(llm, directions, readers, config, folder, progress=progress)
