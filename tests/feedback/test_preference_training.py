"""Training on pairs: what it can learn, what it must not leak, and figures by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.emotion.training.pairs import Pair
from erm_gym.feedback.head_files import save_head
from erm_gym.feedback.preference_head import NAME, PreferenceHead
from erm_gym.feedback.preference_training import (
    Accuracy,
    PreferenceReport,
    fit_preference,
    train_preference,
)
from erm_gym.llm import FrozenLLM

D = 64  # features of the tiny model


def features_of(count: int, signal: float, seed: int = 0) -> torch.Tensor:
    """Replies `[2 count, 64]` of which the preferred one has more of the first feature."""
    features = torch.randn(2 * count, D, generator=torch.Generator().manual_seed(seed))
    features[::2, 0] += signal
    return 3.0 * features + 7.0


def fit(features: torch.Tensor, **more: object) -> tuple[PreferenceHead, PreferenceReport]:
    count = len(features) // 2
    options = {"lengths": np.zeros(2 * count), "groups": np.arange(count)} | more
    return fit_preference(features, **options)  # type: ignore[arg-type]


def weights_of(head: PreferenceHead) -> torch.Tensor:
    """Weights `[64]` of the one output."""
    return head.state_dict()["linear.weight"][0]


def test_accuracy_by_hand() -> None:
    """Wilson 1927: 8 of 10 has the interval .490 to .943."""
    found = Accuracy.of(np.array([1.0] * 8 + [-1.0] * 2))
    assert (found.value, found.pairs) == (0.8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Accuracy.of(np.array([1.0, 0.0])).value == 0.75
    sure = Accuracy.of(np.ones(100))
    assert sure.high == pytest.approx(1.0) and sure.low == pytest.approx(0.963, abs=1e-3)


def test_it_finds_what_is_there() -> None:
    features = features_of(600, signal=2.0)
    head, report = fit(features)
    assert report.test.pairs == 150 and report.train.pairs == 450
    # The difference of the first feature is normal with mean 2 and deviation sqrt(2): .92 above 0.
    assert report.test.low < 0.92 < report.test.high + 0.03
    assert report.test_log_loss < 0.35
    weight = weights_of(head)
    assert weight[0] > 4.0 * weight[1:].std()


def test_noise_stays_noise() -> None:
    """The penalty wins: nothing is claimed where nothing is there, and the scale shrinks."""
    _, report = fit(features_of(300, signal=0.0))
    assert report.test.low < 0.5 < report.test.high
    assert report.test_log_loss == pytest.approx(np.log(2.0), abs=0.03)


def test_margins_are_calibrated() -> None:
    """With 4,000 pairs the fitted weight is that of the true model: logit of a normal shift.

    For features with unit variance and a shift s, P(first | difference x) = sigmoid(s x).
    """
    head, report = fit(features_of(4000, signal=1.0))
    raw = float(weights_of(head)[0] / head.std[0]) * 3.0  # per unit of the made-up feature
    assert raw == pytest.approx(1.0, rel=0.12)
    assert report.test_log_loss < 0.6


def test_an_ordinary_reply_has_margin_zero() -> None:
    """The mean over the training replies, whatever the offset of the features."""
    features = features_of(200, signal=1.0)
    head, _ = fit(features)
    with torch.no_grad():
        assert abs(float(head(features).mean())) < 0.1
        assert abs(float(head(head.mean[None]))) < 1e-6


def test_pairs_of_one_group_stay_together() -> None:
    """Twins with the same noise: a split between them would read one off the other."""
    features = features_of(60, signal=0.0)
    twins = features.view(60, 2, D).repeat_interleave(6, 0).view(-1, D)
    groups = np.repeat(np.arange(60), 6)
    _, apart = fit(twins, groups=np.arange(360))
    _, together = fit(twins, groups=groups)
    assert apart.test.value > 0.9
    assert together.test.value < 0.75
    assert together.cross_validated.value < 0.75


@pytest.mark.parametrize("shorter", [True, False])
def test_length_is_compared(shorter: bool) -> None:
    features = features_of(200, signal=0.0)
    lengths = np.tile([5.0, 9.0] if shorter else [9.0, 5.0], 200)
    lengths[-2:] = 7.0  # a tie
    _, report = fit(features, lengths=lengths)
    assert report.shorter_is_preferred is shorter
    assert report.test_length.value > 0.98
    only_head, only_length = report.test_better_than_length
    wrong = round((1.0 - report.test.value) * report.test.pairs)
    assert only_head <= 1 and abs(only_length - wrong) <= 1


def pairs(count: int) -> list[Pair]:
    """The preferred reply is made of one vowel, the other of another one."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        both = [
            " ".join(rng.choice([f"b{vowel}", f"d{vowel}", f"g{vowel}"], size=6)) for vowel in "au"
        ]
        prompt = [{"role": "user", "content": f"Say {number // 2}"}]
        made.append(Pair(emotion="fear", prompt=prompt, chosen=both[0], rejected=both[1]))
    return made


def test_from_texts_to_a_file(llm: FrozenLLM, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    head, report = train_preference(llm, pairs(60), progress=lambda *where: told.append(where))
    assert told == [(120, 120)]
    assert report.test.pairs + report.train.pairs == 60
    assert report.test.value > 0.8
    save_head(head, NAME, tmp_path, llm_fingerprint=llm.fingerprint)
    loaded = PreferenceHead.for_llm(llm, tmp_path)
    assert torch.equal(weights_of(loaded), weights_of(head))
    again, same = train_preference(llm, pairs(60))
    assert same == report
    assert torch.equal(weights_of(again), weights_of(head))
    assert train_preference(llm, pairs(60), seed=1)[1] != report


def test_too_few_pairs(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="3 pairs are too few; give at least 20"):
        train_preference(llm, pairs(3))
