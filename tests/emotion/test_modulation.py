"""Bias on logits and temperature, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from erm_gym.emotion import (
    EmotionalSignals,
    LogitModulator,
    ModulationConfig,
    TemperatureConfig,
    TemperatureModulator,
    category_ids,
)


@pytest.fixture
def modulator() -> LogitModulator:
    """Tokens 0-1 cautious, 2 exploratory, 3 alternative and exploratory, 4-6 in no category."""
    modulator = LogitModulator(7)
    modulator.set_category("cautious", [0, 1])
    modulator.set_category("exploratory", torch.tensor([2, 3]))
    modulator.set_category("alternative", [3])
    return modulator


def feel(**values: Any) -> EmotionalSignals:
    return EmotionalSignals.zeros(1).with_(**values)


def test_rules_by_hand(modulator: LogitModulator) -> None:
    signals = EmotionalSignals.stack(
        [
            feel(fear=0.8)[0],
            feel(curiosity=0.6)[0],
            feel(anger=1.0, curiosity=0.75)[0],
            feel(joy=1.0, anxiety=1.0, confidence=1.0)[0],
        ]
    )
    expected = torch.tensor(
        [
            [1.6, 1.6, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.2, 1.2, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.5, 3.5, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    torch.testing.assert_close(modulator(signals), expected)


def test_the_learned_term_by_hand(modulator: LogitModulator) -> None:
    with torch.no_grad():
        modulator.W[0, 4], modulator.W[3, 4], modulator.W[3, 5] = 2.0, -1.0, 3.0
    bias = modulator(feel(fear=0.4, joy=0.2))
    # scale .5: token 4: .5 * (.4 * 2 - .2 * 1) = .3; token 5: .5 * .2 * 3 = .3
    torch.testing.assert_close(bias, torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.0]]))


def test_no_bias_up_to_the_threshold_and_one_above(modulator: LogitModulator) -> None:
    assert not modulator(torch.full((3, 6), 0.5)).any()
    assert modulator(torch.full((3, 6), 0.5001))[:, :4].gt(1.0).all()


def test_candidates_get_what_the_whole_vocabulary_gets(modulator: LogitModulator) -> None:
    modulator.W.data.normal_()
    signals, candidates = torch.rand(4, 3, 6), torch.randint(0, 7, (4, 3, 5))
    full = modulator(signals)
    assert full.shape == (4, 3, 7)
    torch.testing.assert_close(modulator(signals, candidates), full.gather(-1, candidates))
    alone = modulator(signals[2, 1], candidates[2, 1])
    torch.testing.assert_close(alone, modulator(signals, candidates)[2, 1])


def test_fear_changes_the_likeliest_candidate(modulator: LogitModulator) -> None:
    logits, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[5, 0]])
    calm = logits + modulator(feel(fear=0.5), candidates)
    afraid = logits + modulator(feel(fear=0.9), candidates)
    assert calm.argmax(-1).item() == 0 and afraid.argmax(-1).item() == 1


def test_gradients_reach_the_weights_and_the_signals(modulator: LogitModulator) -> None:
    modulator.W.data.normal_()
    signals = torch.full((2, 6), 0.7, requires_grad=True)
    modulator(signals, torch.tensor([[0, 4], [2, 3]])).sum().backward()
    assert modulator.W.grad is not None and modulator.scale.grad is not None
    assert modulator.W.grad[:, [0, 2, 3, 4]].abs().min() > 0 and modulator.scale.grad != 0
    assert not modulator.W.grad[:, [1, 5, 6]].any()
    assert signals.grad is not None and signals.grad[0, 0] != signals.grad[1, 0]  # only row 0: rule


def test_categories_can_be_asked_and_replaced(modulator: LogitModulator) -> None:
    candidates = torch.tensor([[0, 4], [6, 1]])
    assert modulator.is_cautious(candidates).tolist() == [[True, False], [False, True]]
    modulator.set_category("cautious", [6])
    assert modulator.is_cautious(candidates).tolist() == [[False, False], [True, False]]
    modulator.set_category("cautious", [])
    assert modulator.category("cautious").tolist() == []
    assert modulator.category("exploratory").tolist() == [2, 3]


def test_the_state_dict_keeps_the_categories(modulator: LogitModulator) -> None:
    other = LogitModulator(7)
    other.load_state_dict(modulator.state_dict())
    signals = feel(fear=0.9, anger=0.9)
    assert torch.equal(other(signals), modulator(signals))


@pytest.mark.parametrize("ids", [[7], [-1]])
def test_a_token_outside_the_vocabulary_is_an_error(
    modulator: LogitModulator, ids: list[int]
) -> None:
    with pytest.raises(ValueError, match=rf"{ids[0]} of category 'cautious' .* of 7 tokens"):
        modulator.set_category("cautious", ids)
    assert modulator.category("cautious").tolist() == [0, 1]


def test_categories_come_from_a_tokenizer(
    word_tokenizer: PreTrainedTokenizerFast, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    words = LogitModulator.from_tokenizer(word_tokenizer, len(word_tokenizer) + 10)
    assert words.category("cautious").tolist() == category_ids(word_tokenizer, "cautious")
    assert len(words.category("alternative")) > 20
    of_bytes = LogitModulator.from_tokenizer(byte_tokenizer, 256)
    assert not of_bytes(torch.ones(1, 6)).any()
    of_bytes.set_category("cautious", byte_tokenizer.encode("!"))
    assert of_bytes(torch.ones(1, 6)).count_nonzero() == 1


@pytest.mark.parametrize(
    ("base", "fear", "curiosity", "confidence", "expected"),
    [
        (1.0, 0.0, 0.0, 0.5, 1.0),
        (1.0, 1.0, 0.0, 0.5, 0.7),
        (1.0, 0.0, 1.0, 0.5, 1.3),
        (1.0, 0.0, 0.0, 1.0, 0.5),
        (0.7, 0.5, 0.2, 0.7, 0.50456),  # .7 * .85 * 1.06 * .8
        (0.1, 1.0, 0.0, 1.0, 0.1),  # .035, below the minimum
        (2.0, 0.0, 1.0, 0.0, 2.0),  # 3.9, above the maximum
    ],
)
def test_temperature_by_hand(
    base: float, fear: float, curiosity: float, confidence: float, expected: float
) -> None:
    modulator = TemperatureModulator(TemperatureConfig(base=base))
    signals = feel(fear=fear, curiosity=curiosity, confidence=confidence, joy=0.3)
    torch.testing.assert_close(modulator(signals), torch.tensor([expected]))


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (ModulationConfig, {"rule_threshold": 1.5}, "ModulationConfig.rule_threshold is 1.5"),
        (ModulationConfig, {"rule_gain": -1.0}, "ModulationConfig.rule_gain is -1.0"),
        (TemperatureConfig, {"base": 0.0}, "TemperatureConfig.base is 0.0"),
        (TemperatureConfig, {"maximum": 0.05}, "TemperatureConfig.maximum .* between 0.1"),
    ],
)
def test_a_constant_out_of_range_is_an_error(
    config: Any, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)
