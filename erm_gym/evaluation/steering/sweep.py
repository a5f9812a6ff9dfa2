"""The sweep of the steering finding on text: what steering does to affect that is read in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.evaluation.config import RunError, RunInterrupted
from erm_gym.evaluation.steering.affect import SteeredHead, SweepTexts
from erm_gym.evaluation.steering.conditions import (
    CONTROLS,
    SOURCES,
    Condition,
    approach_table,
    strength_table,
)
from erm_gym.evaluation.steering.predictions import PLAIN, Predictions
from erm_gym.evaluation.steering.settings import about_llm, about_texts
from erm_gym.evaluation.storage import read_results, write_json
from erm_gym.llm import FrozenLLM
from erm_gym.steering import UpperLayers
from erm_gym.steering.feedback import Mode
from erm_gym.steering.reading import FEEDBACK_SHARE, LEAST_TEXTS, split_texts
from erm_gym.steering.signals import MOST_ALIKE

FILE = "sweep.json"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """What is swept."""

    head_layer: int = 18
    """Hidden layer that the pathways read, above the steered ones."""
    target_layers: tuple[int, ...] = (14, 16)
    """Hidden layers that are steered; a single one is the last of them."""
    strength: float = 1.0
    """Of the approaches' table: what the feedback connections were trained at."""
    strengths: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0)
    """Of the strengths' table."""
    mode: Mode = "multiplicative"
    """How the modulation acts."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of pathways and feedback connections."""
    feedback_share: float = FEEDBACK_SHARE
    """Share of the training texts that the feedback connections learn from."""
    perplexity_texts: int = 128
    """Test texts, drawn at random, whose perplexity is measured."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            RunError: It names the field and what is allowed.
        """
        layers = self.target_layers
        if not layers or min(layers) < 1 or max(layers) >= self.head_layer:
            raise RunError(
                f"target_layers must be from 1 on and below head_layer {self.head_layer}, got "
                f"{layers}"
            )
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise RunError(f"seeds must be different, at least one, got {self.seeds}")
        if not all(0.0 <= one < math.inf for one in (self.strength, *self.strengths)):
            raise RunError("strengths must be finite and at least 0")
        if not self.strengths or 2.0 not in self.strengths:
            raise RunError("strengths must have 2.0, which the finding calls the peak")
        if not 0.0 < self.feedback_share < 1.0:
            raise RunError(f"feedback_share must be above 0 and below 1, got {self.feedback_share}")
        if self.perplexity_texts < 1:
            raise RunError(f"perplexity_texts must be at least 1, got {self.perplexity_texts}")
        if self.mode not in get_args(Mode):
            raise RunError(f"mode must be one of {', '.join(get_args(Mode))}, got {self.mode!r}")

    def approaches(self) -> dict[str, Condition]:
        """The approaches' table, for bins from true labels."""
        return approach_table(self.target_layers, self.strength)

    def strength_table(self) -> dict[float, Condition]:
        """The strengths' table, for bins from true labels."""
        return strength_table(self.target_layers[-1], self.strengths)

    def conditions(self) -> list[Condition]:
        """Everything that is steered, each once."""
        approaches = [
            replace(one, source=source, control=control)
            for one in self.approaches().values()
            for source in SOURCES
            for control in CONTROLS
        ]
        strengths = [
            replace(one, source=source)
            for one in self.strength_table().values()
            for source in SOURCES
        ]
        return list({str(one): one for one in approaches + strengths}.values())


def sweep(
    llm: FrozenLLM,
    training: LabelledTexts,
    test: LabelledTexts,
    config: SweepConfig,
    out: Path,
    *,
    progress: Progress = lambda name, done, total: None,
) -> dict[str, Any]:
    """Fits and steers for every seed; called again, it goes on.

    Args:
        llm: The frozen LM, in float32: differences of a thousandth are looked for.
        training: Texts with ratings; signals come from these alone. Those that are among the test
            texts, too, are left out.
        test: Other texts with ratings, of which nothing is learned.
        config: What is swept.
        out: Folder for `sweep.json` and the predictions of every condition.
        progress: Called as parts are done.

    Returns:
        `config`; `seeds`, with coverage, the most alike signals and the gates of each; and
        `perplexity`, unsteered, and how many times that by strength. The tables are made of the
        predictions by `erm_gym.evaluation.steering.tables`.

    Raises:
        RunError: If the folder holds results of other settings, too few texts are left, or there
            are no such layers.
        RunInterrupted: If it was stopped; finished conditions are kept.
    """
    asked_about = set(test.texts)
    own = [row for row, text in enumerate(training.texts) if text not in asked_about]
    training = training.select(torch.tensor(own, dtype=torch.int64))
    try:
        upper = UpperLayers(llm, min(config.target_layers), config.head_layer)
        split_texts(len(training), config.feedback_share)
    except ValueError as error:
        raise RunError(str(error)) from error
    if len(test) < LEAST_TEXTS:
        raise RunError(f"a sweep needs {LEAST_TEXTS} test texts at least, got {len(test)}")
    asked = {
        **asdict(config),
        "llm": about_llm(llm),
        "training": about_texts(training),
        "test": about_texts(test),
    }
    results = read_results(out / FILE, asked)
    results.setdefault("seeds", {})
    conditions = config.conditions()
    names = {PLAIN, *map(str, conditions)}
    missing = [
        seed
        for seed in config.seeds
        if str(seed) not in results["seeds"]
        or (seed == config.seeds[0] and "perplexity" not in results)
        or not names <= Predictions(out, seed).names
    ]
    if not missing:
        return results
    write_json(out / FILE, results)  # at once: what is kept below belongs to these settings
    total = len(config.seeds) * len(conditions)
    done = total - len(missing) * len(conditions)
    try:
        texts = SweepTexts.read(
            llm,
            upper,
            training,
            test,
            feedback_share=config.feedback_share,
            progress=partial(progress, "texts read"),
        )
        for seed in missing:
            head = SteeredHead.fit(
                texts,
                config.target_layers,
                config.mode,
                seed,
                partial(progress, f"feedback connections, seed {seed}"),
            )
            kept = Predictions(out, seed)
            kept.put(PLAIN, head.plain)
            for condition in conditions:
                if str(condition) not in kept.names:
                    kept.put(str(condition), head.steered(texts, condition))
                done += 1
                progress("conditions", done, total)
            if "perplexity" not in results:
                results["perplexity"] = _perplexities(texts, head, config)
            results["seeds"][str(seed)] = _facts(head)
            write_json(out / FILE, results)
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            f"stopped with {done} of {total} conditions finished, which are kept in {out}; give "
            "the same command to go on"
        ) from error
    return results


def _facts(head: SteeredHead) -> dict[str, Any]:
    """Coverage of the test texts, the most alike signals, and what `validate` refuses."""
    return {
        "coverage": {
            f"{binning} {source}": head.steering.signals[binning].coverage(bins)
            for (binning, source), bins in head.bins.items()
        },
        "most_alike": {
            name: asdict(pairs[0])
            for name, own in head.steering.signals.items()
            if (pairs := own.correlations())
        },
        "too_alike": {
            name: [asdict(pair) for pair in own.correlations() if pair.r >= MOST_ALIKE]
            for name, own in head.steering.signals.items()
        },
        "counts": {name: own.counts.tolist() for name, own in head.steering.signals.items()},
        "errors": head.steering.feedback.errors.tolist(),
        "gates": head.steering.feedback.gates.tolist(),
    }


def _perplexities(texts: SweepTexts, head: SteeredHead, config: SweepConfig) -> dict[str, Any]:
    """Of the test texts under the LM, by strength, with bins as the model itself predicts them."""
    order = torch.randperm(len(texts.test_texts), generator=torch.Generator().manual_seed(0))
    rows = order[: config.perplexity_texts].tolist()
    found: dict[str, Any] = {PLAIN: head.perplexity(texts, None, rows)}
    for strength, condition in config.strength_table().items():
        ratio = head.perplexity(texts, replace(condition, source="predicted"), rows) / found[PLAIN]
        found[f"{strength:g}"] = ratio if math.isfinite(ratio) else None
    return found
