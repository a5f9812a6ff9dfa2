"""From labelled texts to a trained critic, and what it is measured by."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from erm_gym.emotion import AFFECT, EMOTIONS, CriticError, EmotionalCritic, ERMConfig
from erm_gym.emotion.training import tonic
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.evaluation import (
    correlations,
    evaluate_erm,
    measure_cost,
    measure_labels,
)
from erm_gym.emotion.training.fitting import FitReport, fit_erm
from erm_gym.emotion.training.labels import GOEMOTIONS
from erm_gym.emotion.training.supervised import ERMTraining
from erm_gym.llm import FrozenLLM

FORM = ERMConfig(
    layers=(1, 3), members=2, width=32, encoded_size=16, dropout=0.1, labels=GOEMOTIONS, affect=True
)
TRAINING = ERMTraining(epochs=6, batch_size=32, affect_batch_size=32, learning_rate=5e-3)


@pytest.fixture(scope="module")
def fitted(
    tiny: FrozenLLM, labelled: LabelledTexts, rated: LabelledTexts, states: Path
) -> tuple[EmotionalCritic, FitReport]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tonic, "STREAMS", 10)
        patch.setattr(tonic, "STEPS", 5)
        critic = EmotionalCritic.for_llm(tiny, erm=FORM)
        report = fit_erm(
            critic, tiny, goemotions=labelled, emobank=rated, training=TRAINING, cache=states
        )
    return critic, report


def test_a_fitted_critic_is_trained_and_says_so(
    fitted: tuple[EmotionalCritic, FitReport], tmp_path: Path
) -> None:
    critic, report = fitted
    assert critic.config.trained and critic.notice() is None
    assert len(critic.config.thresholds) == 6 + 28
    assert [round(sum(mix), 5) for mix in report.layer_mix] == [1.0, 1.0]
    figures = report.as_dict()["validation"]
    assert set(figures) == {"emotions", "labels", "affect"}
    assert figures["emotions"]["fear"]["f1"] > 0.9 and figures["labels"]["joy"] > 0.9
    critic.save_pretrained(tmp_path)
    loaded = EmotionalCritic.from_pretrained(tmp_path)
    assert loaded.config == critic.config
    for name, value in critic.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_evaluation_has_the_numbers_of_the_file(
    fitted: tuple[EmotionalCritic, FitReport],
    tiny: FrozenLLM,
    labelled: LabelledTexts,
    rated: LabelledTexts,
    states: Path,
) -> None:
    critic, _ = fitted
    figures = evaluate_erm(critic, tiny, goemotions=labelled, emobank=rated, cache=states)
    result = figures.as_dict()
    assert set(result["emotions"]) == set(EMOTIONS) and set(result["affect"]) == set(AFFECT)
    assert {"auc", "f1", "ap", "ece"} <= set(result["emotions"]["fear"])
    assert set(result["labels"]) == set(GOEMOTIONS)
    assert result["emotions"]["fear"]["auc"] > 0.99
    assert result["affect"]["valence"] > 0.9
    assert result["macro_f1"] == pytest.approx(np.mean(list(result["labels"].values())))
    # F1 by hand, at the threshold that the critic keeps
    fear = figures.probabilities[:, 0] > critic.config.thresholds[0]
    truth = labelled.values[:, GOEMOTIONS.index("fear")]
    assert result["emotions"]["fear"]["f1"] == pytest.approx(f1_score(truth, fear))
    # No text is hopeful, none is confused: fear is the only opposite of confidence.
    assert result["emotions"]["confidence"]["texts"] == int(truth.sum())
    only = evaluate_erm(critic, tiny, goemotions=None, emobank=rated, cache=states)
    assert only.affect == figures.affect and not only.emotions


def test_the_reading_is_that_of_the_critic_as_it_acts(
    fitted: tuple[EmotionalCritic, FitReport],
    tiny: FrozenLLM,
    labelled: LabelledTexts,
    states: Path,
) -> None:
    """Position by position over the LM's own states: what is measured is what is felt."""
    critic, _ = fitted
    part = LabelledTexts(source="part", texts=labelled.texts[:3], values=labelled.values[:3])
    figures = evaluate_erm(critic, tiny, goemotions=part, emobank=None, cache=states)
    slots = tiny.slots(3, layers=critic.config.erm.layers)
    output = slots.prefill(range(3), [tiny.encode_prompt(text) for text in part.texts])
    with torch.no_grad():
        pools = critic.erm.pools(output.states, mask=output.mask)
        read = critic.erm.read_off(pools).emotions[:, -1]
    torch.testing.assert_close(read, figures.probabilities, atol=0.02, rtol=0)  # bfloat16


def test_what_a_critic_cannot_read_is_an_error(
    fitted: tuple[EmotionalCritic, FitReport], tiny: FrozenLLM, rated: LabelledTexts, states: Path
) -> None:
    untrained = EmotionalCritic.for_llm(tiny, erm=replace(FORM, affect=False))
    labelled = LabelledTexts(source="one", texts=["a"], values=torch.zeros(1, 28))
    with pytest.raises(CriticError, match=r"is untrained on labels; .*erm-gym erm train"):
        evaluate_erm(untrained, tiny, goemotions=labelled, emobank=None, cache=states)
    other = EmotionalCritic.for_llm(tiny, erm=replace(FORM, labels=("odd",)))
    other.config = replace(other.config, trained=True, thresholds=(0.5,) * 7)
    with pytest.raises(CriticError, match=r"reads the labels \('odd',\)"):
        evaluate_erm(other, tiny, goemotions=labelled, emobank=None, cache=states)
    with pytest.raises(CriticError, match="reads no valence; leave out --emobank"):
        evaluate_erm(untrained, tiny, goemotions=None, emobank=rated, cache=states)


def test_ratings_alone_leave_the_emotions_untrained(
    tiny: FrozenLLM, rated: LabelledTexts, states: Path
) -> None:
    critic = EmotionalCritic.for_llm(tiny, erm=replace(FORM, labels=()))
    report = fit_erm(critic, tiny, goemotions=None, emobank=rated, training=TRAINING, cache=states)
    assert report.tonic is None and not critic.config.trained
    assert report.validation["affect"]["valence"] > 0.8
    figures = evaluate_erm(critic, tiny, goemotions=None, emobank=rated, cache=states)
    assert figures.affect["valence"] > 0.8


def test_labels_by_hand(fitted: tuple[EmotionalCritic, FitReport]) -> None:
    critic, _ = fitted
    outputs = torch.full((3, 37), -20.0)
    outputs[0, 0] = outputs[0, 6 + GOEMOTIONS.index("fear")] = 20.0
    labels = torch.zeros(3, 28)
    labels[0, GOEMOTIONS.index("fear")] = labels[1, GOEMOTIONS.index("approval")] = 1.0
    emotions, others = measure_labels(outputs, labels, critic)
    assert (emotions["fear"].f1, emotions["fear"].auc, others["fear"].f1) == (1.0, 1.0, 1.0)
    assert (emotions["confidence"].texts, emotions["confidence"].positives) == (2, 1)
    assert others["approval"].f1 == 0.0 and math.isnan(others["joy"].auc)


def test_correlations_by_hand() -> None:
    rated = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    read = torch.tensor([[5.0, 3.0, 4.0], [6.0, 2.0, 4.0], [7.0, 1.0, 4.0]])
    found = correlations(read, rated)
    assert found["valence"] == pytest.approx(1.0) and found["arousal"] == pytest.approx(-1.0)
    assert math.isnan(found["dominance"])


def test_the_cost_is_counted(tiny: FrozenLLM) -> None:
    critic = EmotionalCritic.for_llm(tiny)
    cost = measure_cost(critic, tiny, rows=2, steps=3)
    assert cost.parameters == sum(
        weight.numel() for name, weight in critic.named_parameters() if name != "modulator.W"
    )
    assert cost.parameter_share == cost.parameters / tiny.num_parameters
    assert cost.rows == 2 and min(cost.decode_ms, cost.critic_ms) > 0
