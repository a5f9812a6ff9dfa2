"""Trains an ERM for every point of three curves: its data, its size and its layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from erm_gym.cli.progress import ProgressDisplay
from erm_gym.emotion.training.datasets import LabelledTexts, read_emobank, read_goemotions
from erm_gym.emotion.training.saturation import (
    Corpora,
    default_variants,
    train_variant,
    union_of_layers,
)
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import ERMTraining
from erm_gym.evaluation import write_json
from erm_gym.evaluation.saturation_picture import plot_saturation
from erm_gym.llm import DEFAULT_LLM, load_llm
from erm_gym.llm.loading import cache_folder


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure where the reading of emotions saturates; goes on where it was stopped."""

    data: Path
    """Folder with goemotions_train.tsv, goemotions_dev.tsv, emobank_train.csv, emobank_dev.csv."""
    llm: str = DEFAULT_LLM
    """The frozen LM."""
    out: Path = Path("docs/erm_saturation.json")
    """Results; a picture of the same name beside them."""
    cache: Path | None = None
    """Folder of hidden states, about 1 GB per layer; by default in the user's cache."""
    seed: int = 0
    """Seed of weights, texts and batches."""


def main(arguments: Arguments) -> None:
    """Trains what is not in the results yet."""
    llm = load_llm(arguments.llm, dtype="bfloat16")
    cache = arguments.cache or cache_folder() / "states"
    variants = default_variants(llm.num_layers)
    layers = union_of_layers(variants)
    points = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    with ProgressDisplay(Console()) as display:

        def states(name: str, texts: LabelledTexts) -> tuple[LabelledTexts, StateCache]:
            def tell(done: int, total: int) -> None:
                display.update(f"reading {name}", done, total, "texts")

            return texts, StateCache(cache, llm, texts.texts, layers, progress=tell)

        def labelled(name: str) -> tuple[LabelledTexts, StateCache]:
            return states(name, read_goemotions(arguments.data / name))

        def rated(name: str) -> tuple[LabelledTexts, StateCache]:
            return states(name, read_emobank(arguments.data / name))

        corpora = Corpora(
            train=labelled("goemotions_train.tsv"),
            rated=rated("emobank_train.csv"),
            dev=labelled("goemotions_dev.tsv"),
            rated_dev=rated("emobank_dev.csv"),
        )
        for variant in variants:
            if any(point["places"] == variant.places for point in points):
                continue
            training = ERMTraining(seed=arguments.seed)
            points.append(
                train_variant(variant, llm, corpora, training=training, progress=display.update)
            )
            write_json(arguments.out, points)
    plot_saturation(points, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
