"""Contrastive training of the learned bias, on replies that one letter tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from erm_gym.emotion import EMOTIONS, EmotionalCritic
from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.likelihood import Likelihoods
from erm_gym.emotion.training.modulator import (
    LEVELS,
    ModulatorReport,
    ModulatorTraining,
    boosted_tokens,
    learned_bias,
    measure_bias,
    train_modulator,
)
from erm_gym.emotion.training.pairs import Pair
from erm_gym.llm import FrozenLLM, load_llm

SMALL = ModulatorTraining(epochs=8, batch_size=4, penalties=(0.01, 0.001))


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def critic(llm: FrozenLLM) -> EmotionalCritic:
    critic = EmotionalCritic.for_llm(llm)
    critic.modulator.set_category("cautious", llm.encode_text("n"))  # a rule of fear
    return critic


def make_pairs(start: int, end: int, emotion: str = "fear", letters: str = "qz") -> list[Pair]:
    """Chosen replies have a q and an a, rejected ones a z; all have a w."""
    good, bad = letters[0], letters[1]
    return [
        Pair(
            emotion=emotion,
            prompt=f"{number}?",
            chosen=f"{good} a w" if number % 2 else f"w a {good} {good}",
            rejected=f"{bad} w" if number % 2 else f"w {bad} {bad}",
        )
        for number in range(start, end)
    ]


def train(critic: EmotionalCritic, llm: FrozenLLM, **options: Any) -> ModulatorReport:
    given: dict[str, Any] = {
        "validation": make_pairs(10, 14),
        "held_out": make_pairs(14, 20),
        "seed": 0,
        "training": SMALL,
    }
    return train_modulator(critic, llm, make_pairs(0, 10), **given | options)


def bias_of(critic: EmotionalCritic, llm: FrozenLLM, text: str) -> list[float]:
    bias = learned_bias(critic, "fear")
    return [float(bias[token]) for token in llm.encode_text(text)]


def test_what_is_learned(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    weights = {name: value.clone() for name, value in llm.model.state_dict().items()}
    others = {name: value.clone() for name, value in critic.state_dict().items()}
    report = train(critic, llm).emotions["fear"]
    calm, _, strong = report.learned
    assert strong.margin > calm.margin + 0.2
    assert strong.share_gaining == 1.0 and strong.kl > 0.0
    assert report.before[0] == report.after[0] == calm  # exactly: nothing is felt
    assert calm.kl == 0.0 and calm.share_gaining == 0.0
    assert report.before[2].kl > 0.0  # the rule
    assert report.after[2].margin > report.before[2].margin
    assert tuple(figures.level for figures in report.learned) == LEVELS
    assert (report.training_pairs, report.pairs, report.telling_words) == (10, 6, 2)
    raised, lowered = bias_of(critic, llm, "qz")
    assert raised > 0 > lowered
    assert bias_of(critic, llm, "QZ") == [raised, lowered]  # the same words
    assert report.tokens == int(critic.modulator.W.count_nonzero()) == 4  # no w, no a
    assert not critic.modulator.W[1:].any()  # other emotions
    for name, value in critic.state_dict().items():
        assert name == "modulator.W" or torch.equal(value, others[name]), name
    for name, value in llm.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_other_pairs_can_be_measured(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    report = train(critic, llm).emotions["fear"]
    measured = measure_bias(critic, llm, make_pairs(14, 20))
    for own, other in zip(measured, report.after, strict=True):
        assert own.margin == pytest.approx(other.margin, abs=1e-5)
        assert own.kl == pytest.approx(other.kl, abs=1e-5)
    with pytest.raises(DataError, match="no pairs to measure"):
        measure_bias(critic, llm, [])


def test_the_seed_decides(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    state = torch.get_rng_state()
    learned = []
    for seed in (0, 0, 1):
        report = train(critic, llm, seed=seed)
        learned.append((critic.modulator.W.detach().clone(), report.emotions["fear"].learned))
    assert torch.equal(learned[0][0], learned[1][0]) and learned[0][1] == learned[1][1]
    assert not torch.equal(learned[0][0], learned[2][0])
    assert torch.equal(torch.get_rng_state(), state)


def test_emotions_do_not_touch_each_other(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    with torch.no_grad():
        critic.modulator.W[4] = 0.5
    both = make_pairs(0, 10), make_pairs(0, 10, "anger", "ux")
    report = train_modulator(
        critic,
        llm,
        [*both[1], *both[0]],
        validation=[*make_pairs(10, 14), *make_pairs(10, 14, "anger", "ux")],
        seed=0,
        training=SMALL,
    )
    assert list(report.emotions) == ["fear", "anger"]
    assert report.emotions["anger"].pairs == 4  # those of validation
    together = critic.modulator.W.detach().clone()
    assert torch.equal(together[4], torch.full_like(together[4], 0.5))
    train(critic, llm)  # fear alone
    assert torch.equal(critic.modulator.W, together)
    assert boosted_tokens(critic, llm, "anger").raised[0][0] == "u"


def test_limits(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    critic.modulator.scale.data.fill_(-0.25)
    train(critic, llm, training=ModulatorTraining(limit=0.125, epochs=8, penalties=(0.0,)))
    assert bias_of(critic, llm, "qz") == [0.125, -0.125]
    assert critic.modulator.W[0, llm.encode_text("q")[0]] == -0.5
    train(critic, llm, training=ModulatorTraining(tokens_kept=3, epochs=8))
    assert critic.modulator.W.count_nonzero() == 2  # one word of two tokens fits
    assert max(map(abs, bias_of(critic, llm, "qz"))) <= 3.0


def test_costs_keep_the_bias_small(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    report = train(critic, llm, training=ModulatorTraining(penalties=(100.0,))).emotions["fear"]
    assert not critic.modulator.W.any()
    assert report.best_epoch == 0 and report.after == report.before
    moved = []
    for cost in (0.0, 100.0):
        costly = ModulatorTraining(kl_cost=cost, epochs=8)
        moved.append(train(critic, llm, training=costly).emotions["fear"].learned[2].kl)
    assert moved[1] < moved[0]


def test_validation_decides(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    report = train(critic, llm).emotions["fear"]
    assert report.penalty in SMALL.penalties and report.best_epoch > 0
    against = make_pairs(10, 14, letters="zq")
    report = train(critic, llm, validation=against).emotions["fear"]
    assert report.best_epoch == 0 and not critic.modulator.W.any()


def test_patience_ends_a_training(
    critic: EmotionalCritic, llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, calls = Likelihoods.change, []

    def counted(self: Likelihoods, *given: Any) -> Any:
        calls.append(given)
        return change(self, *given)

    monkeypatch.setattr(Likelihoods, "change", counted)
    against = make_pairs(10, 14, letters="zq")
    for patience in (2, 4):
        patient = ModulatorTraining(penalties=(0.001,), patience=patience, epochs=9)
        train(critic, llm, validation=against, training=patient)
    # before the training, then per epoch one batch and the validation, and 9 measurements
    assert len(calls) == (1 + 2 * 2 + 9) + (1 + 4 * 2 + 9)


def test_save_is_load(critic: EmotionalCritic, llm: FrozenLLM, tmp_path: Path) -> None:
    train(critic, llm)
    critic.save_pretrained(tmp_path)
    loaded = EmotionalCritic.from_pretrained(tmp_path, llm=llm)
    assert torch.equal(loaded.modulator.W, critic.modulator.W)
    assert boosted_tokens(loaded, llm, "fear") == boosted_tokens(critic, llm, "fear")


def test_boosted_tokens(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    row = critic.modulator.W.data[EMOTIONS.index("joy")]
    for letter, value in {"b": 2.0, "B": 2.0, "c": 4.0, "d": -1.0, "e": -3.0, "E": -5.0}.items():
        row[llm.encode_text(letter)] = value
    table = boosted_tokens(critic, llm, "joy", n=2)
    assert table.raised == [("c", 2.0), ("b", 1.0)]  # times the scale, 0.5
    assert table.lowered == [("e", -2.5), ("e", -1.5)]
    full = boosted_tokens(critic, llm, "joy")
    assert (len(full.raised), len(full.lowered)) == (2, 3)
    assert boosted_tokens(critic, llm, "fear").raised == []
    with pytest.raises(ValueError, match=r"unknown emotion 'yoy'.*joy"):
        boosted_tokens(critic, llm, "yoy")


def test_a_report_is_plain_values(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    plain = train(critic, llm).as_dict()
    assert plain["emotions"]["fear"]["after"][0]["kl"] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": []}, r"no validation pairs of fear; hold some"),
        ({"held_out": make_pairs(0, 2, "anger")}, r"no held-out pairs of fear"),
        ({"training": ModulatorTraining(min_prompts=11)}, r"no word tells .* of fear .*11 prompts"),
    ],
)
def test_pairs_that_teach_nothing(
    critic: EmotionalCritic, llm: FrozenLLM, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        train(critic, llm, **options)


def test_a_modulator_that_cannot_learn(critic: EmotionalCritic, llm: FrozenLLM) -> None:
    with pytest.raises(DataError, match=r"no pairs to learn from"):
        train_modulator(critic, llm, [], validation=[], seed=0)
    critic.modulator.scale.data.zero_()
    with pytest.raises(ValueError, match=r"scale is 0: set it"):
        train(critic, llm)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, r"ModulatorTraining.beta is 0.0"),
        ({"kl_cost": -1.0}, r"ModulatorTraining.kl_cost is -1.0"),
        ({"penalties": ()}, r"ModulatorTraining.penalties is empty; give"),
        ({"penalties": (0.1, -0.1)}, r"ModulatorTraining.penalties is -0.1"),
        ({"tokens_kept": 0}, r"ModulatorTraining.tokens_kept is 0"),
    ],
)
def test_bad_hyperparameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModulatorTraining(**options)
