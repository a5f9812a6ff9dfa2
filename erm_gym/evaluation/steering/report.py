"""All that is measured of steering, and the page that tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erm_gym.emotion.training.datasets import read_emobank
from erm_gym.envs.text.critic_rows import resolve_critic
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.rollouts import choose_prompts
from erm_gym.evaluation.steering.adaptive import FILE as ADAPTIVE
from erm_gym.evaluation.steering.adaptive import AdaptiveConfig, kept_parts, learn_strength
from erm_gym.evaluation.steering.effects import FILE as EFFECTS
from erm_gym.evaluation.steering.effects import EffectConfig, kept_effects, measure_effects
from erm_gym.evaluation.steering.page import PAGE, page_of, write_page
from erm_gym.evaluation.steering.picture import (
    AFFECT_PICTURE,
    REPLIES_PICTURE,
    plot_affect,
    plot_replies,
)
from erm_gym.evaluation.steering.readers import CriticReader, EmotionReader, LexiconReader
from erm_gym.evaluation.steering.sweep import SweepConfig, sweep
from erm_gym.evaluation.steering.tables import tables
from erm_gym.evaluation.storage import read_json, write_json
from erm_gym.feedback import load_prompts
from erm_gym.llm import FrozenLLM
from erm_gym.steering import FittedSteering
from erm_gym.steering.feedback import Mode

PARTS = ("affect", "replies", "control")
FOLDER, QUICK_FOLDER = "steering", "steering_quick"
TABLES = "tables.json"
PROMPTS, QUICK_PROMPTS = 64, 8
"""Held-out prompts that replies are written to."""
QUICK_TEXTS, QUICK_TEST = 300, 60
QUICK_AFFECT: dict[str, Any] = {
    "strengths": (1.0, 2.0, 10.0),
    "perplexity_texts": 4,
}
QUICK_REPLIES: dict[str, Any] = {
    "strengths": (4.0,),
    "bins": ("positive, strong",),
    "bin_strengths": (2.0,),
    "max_new_tokens": 8,
}
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


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured of steering, and where it is kept."""

    data: Path
    """Folder with emobank_train.csv and emobank_dev.csv."""
    steering: Path
    """Folder that `erm-gym steer fit` wrote."""
    out: Path
    """Folder for `steering.md`, pictures, and a folder with all results."""
    parts: tuple[str, ...] = PARTS
    """Which of `affect`, `replies` and `control` are measured."""
    head_layer: int = 18
    """Hidden layer that affect is read in."""
    target_layers: tuple[int, ...] = (14, 16)
    """Hidden layers below it that are steered for that."""
    mode: Mode = "multiplicative"
    """How signals change them."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of pathways and feedback connections; a quick run takes the first."""
    quick: bool = False
    """Few texts, seeds and episodes."""
    dtype: str = "bfloat16"
    """Precision of the LM while it writes replies."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            RunError: If a part is unknown, or there is none.
        """
        if not self.parts or set(self.parts) - set(PARTS):
            given = ", ".join(self.parts) or "none"
            raise RunError(f"parts are {', '.join(PARTS)}; got {given}")

    @property
    def folder(self) -> Path:
        """Of the results of all parts."""
        return self.out / (QUICK_FOLDER if self.quick else FOLDER)

    @property
    def page(self) -> Path:
        """The page; figures of a quick run, which mean nothing, never replace others."""
        return (self.folder if self.quick else self.out) / PAGE


def measure_steering(
    load: Load, asked: Measurement, *, progress: Progress = lambda work, done, total: None
) -> dict[str, Any]:
    """Measures and writes the page; called again, it goes on.

    The page tells of all parts whose results are there, also of those that were measured before.

    Args:
        load: Loads the frozen LM in a precision.
        asked: What is measured.
        progress: Told what is done, how much of it, and of how much.

    Returns:
        Results by part.

    Raises:
        RunError: If results of other settings are in the way, or a package is missing.
        RunInterrupted: If it was stopped; what was finished is kept.
        ValueError: If what `steer fit` wrote cannot be read, or has not what is asked for.
    """
    page_of(_finished(asked.folder))  # what cannot be joined is told at once
    pictures = asked.page.parent
    writing = _Writing(load, asked) if {"replies", "control"} & set(asked.parts) else None
    if "affect" in asked.parts:
        _affect(load("float32"), asked, progress)
    if writing is not None:
        if "replies" in asked.parts:
            writing.replies(progress)
        if "control" in asked.parts:
            writing.control(progress)
    found = _finished(asked.folder)
    if "affect" in found:
        plot_affect(found["affect"], pictures / AFFECT_PICTURE)
    if "replies" in found:
        plot_replies(found["replies"], pictures / REPLIES_PICTURE)
    write_page(asked.page, page_of(found, quick=asked.quick))
    return found


def _affect(llm: FrozenLLM, asked: Measurement, progress: Progress) -> None:
    config = SweepConfig(
        head_layer=asked.head_layer,
        target_layers=asked.target_layers,
        mode=asked.mode,
        seeds=asked.seeds[:1] if asked.quick else asked.seeds,
        **(QUICK_AFFECT if asked.quick else {}),
    )
    training, test = (read_emobank(asked.data / f"emobank_{name}.csv") for name in ("train", "dev"))
    if asked.quick:
        training, test = (
            one.select(torch.arange(min(count, len(one))))
            for one, count in ((training, QUICK_TEXTS), (test, QUICK_TEST))
        )
    results = sweep(llm, training, test, config, asked.folder, progress=progress)
    found = {"config": results["config"]}
    found |= tables(results, asked.folder, config, test.values[:, :2].numpy())
    write_json(asked.folder / TABLES, found)


class _Writing:
    """Replies that are steered; whatever is missing for them is told before anything long."""

    def __init__(self, load: Load, asked: Measurement) -> None:
        self.folder = asked.folder
        self.llm = load(asked.dtype)
        self.steering = FittedSteering.load(asked.steering, self.llm)
        pool = load_prompts("default").split("test")
        prompts = choose_prompts(pool, QUICK_PROMPTS if asked.quick else PROMPTS)
        self.effects = EffectConfig(
            prompts=tuple(prompt.text for prompt in prompts),
            **(QUICK_REPLIES if asked.quick else {}),
        )
        self.learning = AdaptiveConfig(**(QUICK_CONTROL if asked.quick else {}))
        self.readers: list[EmotionReader] = []
        if "replies" in asked.parts:
            critic = resolve_critic("default", self.llm)
            self.readers = [CriticReader(self.llm, critic), LexiconReader()]
            kept_effects(self.llm, self.steering, self.readers, self.effects, self.folder)
        if "control" in asked.parts:
            self.steering.require([self.learning.emotion])
            assert self.steering.directions is not None
            kept_parts(self.llm, self.steering.directions, self.learning, self.folder)

    def replies(self, progress: Progress) -> None:
        """What steering does to replies."""
        measure_effects(
            self.llm, self.steering, self.readers, self.effects, self.folder, progress=progress
        )

    def control(self, progress: Progress) -> None:
        """Strength that is learned."""
        assert self.steering.directions is not None
        learn_strength(self.llm, self.steering.directions, self.learning, self.folder, progress)


def _finished(folder: Path) -> dict[str, Any]:
    """Results of the parts that are there and complete.

    Raises:
        RunError: If a file is damaged, or they are of several language models.
    """
    found: dict[str, Any] = {}
    for part, (file, complete) in {
        "affect": (TABLES, "insights"),
        "replies": (EFFECTS, "effects"),
        "control": (ADAPTIVE, "agents"),
    }.items():
        if (folder / file).exists() and complete in (results := read_json(folder / file)):
            found[part] = results
    models = {json.dumps(_model(results), sort_keys=True) for results in found.values()}
    if len(models) > 1:
        raise RunError(
            f"{folder} holds results of several language models, {'; '.join(sorted(models))}; give "
            "another folder to one of them"
        )
    return found


def _model(results: dict[str, Any]) -> Any:
    """Architecture of the language model; the precision may differ."""
    llm = results["config"]["llm"]
    return llm["fingerprint"] if isinstance(llm, dict) else llm
