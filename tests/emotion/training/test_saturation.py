"""Curves of size, layers and data: what a point is, and that it is measured as a critic is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.saturation import (
    Corpora,
    default_variants,
    train_variant,
    union_of_layers,
)
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.supervised import ERMTraining
from erm_gym.evaluation.saturation_picture import plot_saturation
from erm_gym.llm import FrozenLLM
from tests.evaluation.test_picture import size

TRAINING = ERMTraining(epochs=4, batch_size=32, affect_batch_size=32, learning_rate=5e-3)


def test_the_curves_cross_at_the_default_form() -> None:
    variants = default_variants(30)
    crossing = [variant for variant in variants if len(variant.places) > 1]
    assert len(crossing) == 1
    assert dict(crossing[0].places) == {"data": "100%", "size": "256-128", "layers": "12, 18, 24"}
    assert union_of_layers(variants) == (12, 18, 24)
    for curve, names in (
        ("data", ["12.5%", "25%", "50%", "100%"]),
        ("size", ["64-32", "256-128", "3 x 256-128"]),
        ("layers", ["18", "12, 18, 24"]),
    ):
        own = [variant.places[curve] for variant in variants if curve in variant.places]
        assert own == names


def test_points_are_trained_measured_and_drawn(
    tiny: FrozenLLM, labelled: LabelledTexts, rated: LabelledTexts, tmp_path: Path
) -> None:
    variants = default_variants(tiny.num_layers)
    few = [variant for variant in variants if variant.share in (0.125, 1.0)][:2]
    small = [replace(variant, form=replace(variant.form, width=32)) for variant in few]
    layers = union_of_layers(variants)
    labels = labelled, StateCache(tmp_path, tiny, labelled.texts, layers)
    ratings = rated, StateCache(tmp_path, tiny, rated.texts, layers)
    corpora = Corpora(train=labels, rated=ratings, dev=labels, rated_dev=ratings)
    points = [train_variant(each, tiny, corpora, training=TRAINING) for each in small]
    little, much = points
    assert little["share"] == 0.125 and little["places"] == {"data": "12.5%"}
    assert little["weights"] != much["weights"] or little["share"] != much["share"]
    assert min(much["auc"].values()) > 0.95 and much["affect"]["valence"] > 0.8
    assert np.mean(list(little["auc"].values())) < np.mean(list(much["auc"].values()))
    again = train_variant(small[0], tiny, corpora, training=TRAINING)
    assert again == little
    plot_saturation(points, tmp_path / "curves.png")
    assert size(tmp_path / "curves.png") == (1600, 600)


def test_a_cache_gives_some_of_its_layers(
    tiny: FrozenLLM, rated: LabelledTexts, tmp_path: Path
) -> None:
    cache = StateCache(tmp_path, tiny, rated.texts, (1, 2, 4))
    whole, mask = cache.batch([3, 5])
    part, same = cache.select((4, 1)).batch([3, 5])
    assert (part == whole[:, :, [2, 0]]).all() and (same == mask).all()
    with pytest.raises(ValueError, match=r"has the layers \(1, 2, 4\), not \[3\]"):
        cache.select((3,))
