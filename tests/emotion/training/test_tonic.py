"""The tonic state: slow means by hand, and a GRU that follows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalRewardModel, ERMConfig
from erm_gym.emotion.training import tonic as module
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.state_cache import StateCache
from erm_gym.emotion.training.tonic import slow_means, train_tonic
from erm_gym.llm import FrozenLLM


def test_slow_means_by_hand() -> None:
    phasic = torch.zeros(1, 3, 6)
    phasic[0, :, 0] = torch.tensor([0.8, 0.0, 0.4])  # fear
    phasic[0, :, 4] = torch.tensor([0.2, 0.6, 0.2])  # anxiety: the larger of both counts
    means = slow_means(phasic, rate=0.5)
    torch.testing.assert_close(means[0, :, 0], torch.tensor([0.4, 0.2, 0.3]))
    torch.testing.assert_close(means[0, :, 4], torch.tensor([0.4, 0.5, 0.45]))
    assert not means[..., [1, 2, 3, 5]].any()


def test_the_tonic_state_follows(
    tiny: FrozenLLM, labelled: LabelledTexts, states: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS", 40)
    monkeypatch.setattr(module, "POSITIONS", 60)
    monkeypatch.setattr(module, "STEPS", 120)
    torch.manual_seed(0)
    erm = EmotionalRewardModel(32, ERMConfig(layers=(1, 3), width=16, encoded_size=8)).eval()
    torch.nn.init.normal_(erm.heads.weight, std=3.0)
    rest = {k: v.clone() for k, v in erm.state_dict().items() if not k.startswith("tonic.")}
    cache = StateCache(states, tiny, labelled.texts, (1, 3))
    before = torch.get_rng_state()
    report = train_tonic(erm, cache, np.arange(100), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert report.error < 0.5 * report.deviation
    assert all(torch.equal(erm.state_dict()[name], value) for name, value in rest.items())
    assert all(parameter.grad is None for parameter in erm.parameters())
    # What has lasted outlives what caused it.
    strong = torch.full((1, 6), 0.9)
    felt = torch.zeros(1, 6)
    with torch.no_grad():
        for _ in range(60):
            felt = erm.next_tonic(strong, felt)
        assert felt.min() > 0.6
        for _ in range(5):
            felt = erm.next_tonic(torch.zeros(1, 6), felt)
        assert felt.min() > 0.4
