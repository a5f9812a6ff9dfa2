"""Training of the FearModule's nets on a small separable problem."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from erm_gym.emotion import FearModule, train_detector

SIZE = 12


def problem(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Risk is in one direction of hidden states of very unequal scales, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    standard = torch.randn(count, SIZE, generator=generator)
    risk = (standard[:, 1] + standard[:, 2] > 0).float() * 0.9 + 0.05
    hidden = standard * torch.logspace(-2, 3, SIZE) + 500.0
    hidden[:, 0] = 20_000.0
    return hidden, risk


def test_the_net_learns_and_reads_raw_hidden_states() -> None:
    module = FearModule(SIZE)
    pain = [parameter.clone() for parameter in module.pain_net.parameters()]
    validation = problem(100, seed=1)
    report = train_detector(module, "danger", *problem(400, seed=0), validation=validation, seed=0)
    assert report.validation_auc > 0.95
    assert report.train_loss < 0.4 and report.validation_loss < 0.4
    assert 1 <= report.best_epoch <= report.epochs_run <= 200
    hidden, risk = problem(200, seed=2)
    danger = module.danger(hidden).detach()
    assert ((danger > 0.5) == (risk > 0.5)).float().mean() > 0.9
    # The mean and deviation folded into the net leave the loss of the standardised one.
    loss = functional.binary_cross_entropy(module.danger(validation[0]), validation[1])
    assert loss.item() == pytest.approx(report.validation_loss, abs=1e-2)
    # and the pain net was not touched
    assert all(map(torch.equal, pain, module.pain_net.parameters()))


def test_the_pain_net_learns_as_well() -> None:
    module = FearModule(SIZE)
    danger = [parameter.clone() for parameter in module.danger_net.parameters()]
    validation = problem(100, seed=1)
    report = train_detector(module, "pain", *problem(400, seed=0), validation=validation, seed=0)
    assert report.validation_auc > 0.95
    hidden, risk = problem(200, seed=2)
    assert ((module.pain(hidden) > 0.5) == (risk > 0.5)).float().mean() > 0.9
    assert all(map(torch.equal, danger, module.danger_net.parameters()))
    with pytest.raises(ValueError, match="no net 'joy'"):
        train_detector(module, "joy", *validation, validation=validation, seed=0)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_net_and_the_global_generator_stays() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    modules = [FearModule(SIZE) for _ in range(3)]
    torch.set_rng_state(before)
    data, validation = problem(60, seed=0), problem(30, seed=1)
    reports = [
        train_detector(module, "danger", *data, validation=validation, seed=seed, epochs=3)
        for module, seed in zip(modules, (0, 0, 1), strict=True)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert reports[0] == reports[1] != reports[2]
    nets = [torch.cat([p.flatten() for p in m.danger_net.parameters()]) for m in modules]
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    hidden, risk = problem(40, seed=0)
    noise = torch.rand(30, generator=torch.Generator().manual_seed(0)).round()
    module = FearModule(SIZE)
    report = train_detector(
        module,
        "danger",
        hidden,
        risk,
        validation=(problem(30, seed=1)[0], noise),
        seed=0,
        patience=4,
    )
    assert report.epochs_run == report.best_epoch + 4 < 200


def test_a_validation_set_of_one_kind_has_no_auc() -> None:
    hidden, _ = problem(20, seed=1)
    report = train_detector(
        FearModule(SIZE),
        "danger",
        *problem(40, seed=0),
        validation=(hidden, torch.zeros(20)),
        seed=0,
        epochs=1,
    )
    assert math.isnan(report.validation_auc)


@pytest.mark.parametrize(
    ("hidden", "risk", "message"),
    [
        (torch.zeros(4, SIZE - 1), torch.zeros(4), r"shape \(4, 11\); expected \[N, 12\]"),
        (torch.zeros(0, SIZE), torch.zeros(0), "N at least 1"),
        (torch.zeros(4, SIZE), torch.zeros(3), r"shape \(3,\) for 4 hidden states"),
        (torch.full((4, SIZE), math.nan), torch.zeros(4), "nan or infinity"),
        (torch.zeros(4, SIZE), torch.full((4,), 1.5), r"labels must lie in \[0, 1\]"),
    ],
)
def test_data_that_do_not_fit_are_an_error(hidden: Tensor, risk: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_detector(
            FearModule(SIZE),
            "danger",
            hidden,
            risk,
            validation=problem(5, seed=0),
            seed=0,
            epochs=1,
        )
