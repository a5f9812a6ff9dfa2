"""How much steering a reply towards an emotion puts of it into the reply, and what that costs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym.evaluation.config import RunError, RunInterrupted
from erm_gym.evaluation.statistics import Interval
from erm_gym.evaluation.steering.conditions import BROKEN_PERPLEXITY
from erm_gym.evaluation.steering.readers import EmotionReader
from erm_gym.evaluation.steering.settings import about_llm
from erm_gym.evaluation.storage import read_results, write_json
from erm_gym.llm import FrozenLLM, LLMError
from erm_gym.llm.edits import Edits
from erm_gym.steering import FittedSteering
from erm_gym.steering.emotions import STEERED
from erm_gym.steering.generation import SteeredReply, generate_steered

FILE = "effects.json"
LEAST_SPREAD = 1e-9
"""Pooled standard deviation below which an effect size says nothing."""
REPORTED = {"fear": 1.08, "joy": 0.63, "curiosity": 1.10, "anger": 0.83}
"""Cohen's d that earlier work in English reports of a model of 3 billion parameters."""
UNSTEERED = "unsteered"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class EffectConfig:
    """What is written and read."""

    prompts: tuple[str, ...]
    """What is asked: prompts that nothing was chosen on."""
    emotions: tuple[str, ...] = STEERED
    """Emotions that replies are steered towards, and that are read in all of them."""
    strengths: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0)
    """How much of a direction is added; above 0."""
    bins: tuple[str, ...] = (
        "negative, weak",
        "negative, strong",
        "positive, weak",
        "positive, strong",
    )
    """Bins of 9 that replies are steered towards; there may be none."""
    bin_strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0)
    """How much the bins' signals modulate; above 0."""
    max_new_tokens: int = 40
    """Longest reply."""
    temperature: float = 0.7
    """Of the sampling."""
    seed: int = 0
    """Of the sampling, the same under all strengths, and of the bootstrap."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            RunError: It names the field and what is allowed.
        """
        if len(self.prompts) < 2:
            raise RunError(f"prompts must be two at least, got {len(self.prompts)}")
        if not self.emotions:
            raise RunError("emotions must name one at least")
        for name in ("strengths", "bin_strengths"):
            given = getattr(self, name)
            if not given or not all(0.0 < one < math.inf for one in given):
                raise RunError(f"{name} must be finite and above 0, got {given}")

    @property
    def targets(self) -> dict[str, tuple[float, ...]]:
        """The strengths of every emotion and bin that replies are steered towards."""
        return {
            **dict.fromkeys(self.emotions, self.strengths),
            **dict.fromkeys(self.bins, self.bin_strengths),
        }


def measure_effects(
    llm: FrozenLLM,
    steering: FittedSteering,
    readers: Sequence[EmotionReader],
    config: EffectConfig,
    out: Path,
    *,
    progress: Progress = lambda name, done, total: None,
) -> dict[str, Any]:
    """Writes replies at every strength and reads them; called again, it goes on.

    Args:
        llm: The frozen LM.
        steering: Directions of the emotions, and signals of the bins.
        readers: Who reads the replies.
        config: What is written.
        out: Folder for `effects.json`, which keeps every reply.
        progress: Called as conditions are done.

    Returns:
        `config`; `conditions`, by name: replies, perplexities and readings; and `effects`, by
        emotion or bin: at each strength Cohen's d of each emotion against the unsteered replies
        with its 95% interval, by reader, and the ratio of median perplexities; and the strength at
        which the model `breaks`.

    Raises:
        RunError: If the folder holds results of other settings.
        SteeringError: If there is no such emotion or bin.
        RunInterrupted: If it was stopped; what was finished is kept.
    """
    path = out / FILE
    results = kept_effects(llm, steering, readers, config, out)
    results.setdefault("conditions", {})
    conditions: list[tuple[str, float]] = [(UNSTEERED, 0.0)]
    conditions += [(name, one) for name, strengths in config.targets.items() for one in strengths]
    done = 0
    try:
        for target, strength in conditions:
            name = condition_name(target, strength)
            if name not in results["conditions"]:
                replies = _write(llm, steering, config, target, strength)
                results["conditions"][name] = _read(replies, readers, config.emotions)
                write_json(path, results)
            done += 1
            progress(name, done, len(conditions))
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            f"stopped with {done} of {len(conditions)} conditions finished, which are kept in "
            f"{path}; give the same command to go on"
        ) from error
    results["effects"] = {one: _effects(results, config, one) for one in config.targets}
    write_json(path, results)
    return results


def kept_effects(
    llm: FrozenLLM,
    steering: FittedSteering,
    readers: Sequence[EmotionReader],
    config: EffectConfig,
    out: Path,
) -> dict[str, Any]:
    """What an earlier call of `measure_effects` kept; arguments and errors as for that."""
    steering.require(config.targets)
    asked = {
        **asdict(config),
        "llm": about_llm(llm),
        "steering": steering.about(),
        "readers": {reader.name: reader.about for reader in readers},
    }
    return read_results(out / FILE, asked)


def condition_name(target: str, strength: float) -> str:
    """What a condition is called in the file."""
    return target if target == UNSTEERED else f"{target} {strength:g}"


def cohens_d(
    steered: np.ndarray,
    plain: np.ndarray,
    rng: np.random.Generator,
    *,
    repetitions: int = 2000,
) -> Interval | None:
    """Cohen's d of replies to the same prompts, with a percentile interval over prompts.

    Args:
        steered: `[N]` readings; nan where a reply says nothing, which leaves the prompt out.
        plain: `[N]` of the same prompts.
        rng: Draws the prompts.
        repetitions: Draws.

    Returns:
        (mean - mean) / pooled standard deviation, ddof 1; None if too few prompts have both, or
        nothing varies.
    """
    both = np.isfinite(steered) & np.isfinite(plain)
    steered, plain = steered[both], plain[both]
    if len(steered) < 2:
        return None
    estimate = _d(steered[None], plain[None])[0]
    rows = rng.integers(len(steered), size=(repetitions, len(steered)))
    draws = _d(steered[rows], plain[rows])
    if not np.isfinite(estimate):
        return None
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def _d(steered: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Cohen's d of each row `[R, N]`; nan where nothing varies."""
    pooled = np.sqrt((steered.var(axis=1, ddof=1) + plain.var(axis=1, ddof=1)) / 2.0)
    pooled = np.where(pooled > LEAST_SPREAD, pooled, np.nan)
    found: np.ndarray = (steered.mean(axis=1) - plain.mean(axis=1)) / pooled
    return found


def _write(
    llm: FrozenLLM,
    steering: FittedSteering,
    config: EffectConfig,
    target: str,
    strength: float,
) -> list[SteeredReply] | None:
    """Replies of a condition; None if the model's numbers overflowed."""
    edits: Edits = {}
    if target != UNSTEERED:
        with warnings.catch_warnings():  # where the model breaks is what is looked for
            warnings.simplefilter("ignore")
            edits = steering.edits(target, strength, len(config.prompts))
    try:
        return generate_steered(
            llm,
            config.prompts,
            edits,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seed=config.seed,
        )
    except LLMError:
        if target == UNSTEERED:
            raise
        return None


def _read(
    replies: list[SteeredReply] | None, readers: Sequence[EmotionReader], emotions: Sequence[str]
) -> dict[str, Any]:
    if replies is None:
        return {"overflow": True}
    texts = [reply.text for reply in replies]
    return {
        "overflow": False,
        "replies": texts,
        "perplexity": [reply.perplexity for reply in replies],
        "readings": {
            reader.name: {one: _plain(reader(texts, one)) for one in emotions} for reader in readers
        },
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(one) if np.isfinite(one) else None for one in values]


def _effects(results: dict[str, Any], config: EffectConfig, target: str) -> dict[str, Any]:
    plain = results["conditions"][UNSTEERED]
    usual = float(np.median(plain["perplexity"]))
    found: dict[str, Any] = {"strengths": {}, "breaks": None, "reported": REPORTED.get(target)}
    for strength in config.targets[target]:
        steered = results["conditions"][condition_name(target, strength)]
        ratio = None if steered["overflow"] else float(np.median(steered["perplexity"])) / usual
        if found["breaks"] is None and (ratio is None or ratio >= BROKEN_PERPLEXITY):
            found["breaks"] = strength
        entry: dict[str, Any] = {"perplexity_ratio": ratio, "d": {}}
        for reader in steered.get("readings", {}):
            entry["d"][reader] = {}
            for emotion in config.emotions:
                after, before = (
                    np.array(one["readings"][reader][emotion], float) for one in (steered, plain)
                )
                rng = np.random.default_rng(config.seed)
                entry["d"][reader][emotion] = cohens_d(after, before, rng)
        found["strengths"][f"{strength:g}"] = entry
    return found
