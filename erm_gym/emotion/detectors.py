"""Supervised training of the FearModule's nets: whether there is danger, or pain, in a context."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.fear import FearModule

Detector = Literal["danger", "pain"]
"""The nets of a FearModule."""


@dataclass(frozen=True, kw_only=True)
class DetectorReport:
    """How the training of a net went."""

    epochs_run: int
    """Epochs until patience or the limit ended the training."""
    best_epoch: int
    """Epoch, from 1, whose weights were kept: the lowest validation loss."""
    train_loss: float
    """Binary cross-entropy of the kept weights on the training set, in nats, without dropout."""
    validation_loss: float
    """The same on the validation set."""
    validation_auc: float
    """Probability that the net ranks a positive validation example (label > 0.5) above a negative
    one; nan if the set lacks either."""


def train_detector(
    fear_module: FearModule,
    detector: Detector,
    hidden: Tensor,
    labels: Tensor,
    *,
    validation: tuple[Tensor, Tensor],
    seed: int,
    epochs: int = 200,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 1.0,
    dropout: float = 0.3,
    patience: int = 20,
) -> DetectorReport:
    """Train a new net and put it in place of the module's; touch nothing else.

    Inputs are standardised by the training set's mean and deviation, which are folded into the
    first layer at the end: the net that is left behind reads raw hidden states. It starts afresh
    at each call, so the result depends on the data, the seed and the hyperparameters alone; no
    global random state is changed.

    Args:
        fear_module: The weights of one of its nets are set in place, on their device.
        detector: Which net.
        hidden: `[N, d]` raw hidden states.
        labels: `[N]` soft labels in [0, 1].
        validation: The same for the examples that decide when to stop.
        seed: Seed of the initial weights, the batch order and the dropout.
        epochs: Most epochs.
        batch_size: Examples per update.
        learning_rate: Step size of AdamW.
        weight_decay: Weight decay of AdamW, on standardised inputs.
        dropout: Share of inputs and of hidden units dropped while training; in [0, 1).
        patience: Epochs without a better validation loss before stopping.

    Returns:
        What was kept and how good it is.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or a label is outside [0, 1].

    Source: our own; the seed names no training procedure for the two nets.
    """
    require_range("train_detector", "dropout", dropout, 0.0, 0.99)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        require_range("train_detector", name, value, 1, math.inf)
    if detector not in get_args(Detector):
        raise ValueError(f"There is no net {detector!r}; choose from {get_args(Detector)}.")
    target = fear_module.danger_net if detector == "danger" else fear_module.pain_net
    hidden, labels = _checked("training", hidden, labels, fear_module.hidden_size)
    held_out, held_out_labels = _checked("validation", *validation, fear_module.hidden_size)
    weight = target.get_parameter("0.weight")  # [width, d]
    device = weight.device

    mean, deviation = hidden.mean(0), hidden.std(0, correction=0)  # [d]
    constant = deviation <= 1e-6 * (1.0 + mean.abs())
    deviation = torch.where(constant, torch.ones_like(deviation), deviation)
    inputs = ((hidden - mean) / deviation).float().to(device)  # [N, d]
    held_out_inputs = ((held_out - mean) / deviation).float().to(device)
    labels, held_out_labels = labels.float().to(device), held_out_labels.float().to(device)

    best_loss, best_epoch, epoch = math.inf, 0, 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        first = nn.Linear(fear_module.hidden_size, len(weight))
        last = nn.Linear(len(weight), 1)
        net = nn.Sequential(nn.Dropout(dropout), first, nn.ReLU(), nn.Dropout(dropout), last)
        net.to(device)
        best = copy.deepcopy(net.state_dict())
        optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
        for epoch in range(1, epochs + 1):
            net.train()
            for batch in torch.split(torch.randperm(len(inputs)).to(device), batch_size):
                optimizer.zero_grad()
                torch.autograd.backward(_loss(net, inputs[batch], labels[batch]))
                optimizer.step()
            loss = _evaluate(net, held_out_inputs, held_out_labels)
            if loss < best_loss:
                best_loss, best_epoch, best = loss, epoch, copy.deepcopy(net.state_dict())
            elif epoch - best_epoch >= patience:
                break
    net.load_state_dict(best)
    with torch.no_grad():
        scores = net.eval()(held_out_inputs).squeeze(-1)
    _install(first, last, mean, deviation, target)
    return DetectorReport(
        epochs_run=epoch,
        best_epoch=best_epoch,
        train_loss=_evaluate(net, inputs, labels),
        validation_loss=best_loss,
        validation_auc=ranking_accuracy(scores, held_out_labels),
    )


def _checked(name: str, hidden: Tensor, labels: Tensor, hidden_size: int) -> tuple[Tensor, Tensor]:
    """Return the examples in double precision, which folding large means needs, on the CPU."""
    if hidden.ndim != 2 or hidden.shape[1] != hidden_size or hidden.shape[0] == 0:
        raise ValueError(
            f"The {name} hidden states have shape {tuple(hidden.shape)}; expected "
            f"[N, {hidden_size}] with N at least 1."
        )
    if labels.shape != hidden.shape[:1]:
        raise ValueError(
            f"The {name} labels have shape {tuple(labels.shape)} for {len(hidden)} hidden states."
        )
    if not bool(torch.isfinite(hidden).all()):
        raise ValueError(f"The {name} hidden states contain nan or infinity.")
    if not bool(((labels >= 0) & (labels <= 1)).all()):
        raise ValueError(f"The {name} labels must lie in [0, 1].")
    return hidden.detach().cpu().double(), labels.detach().cpu().double()


def _loss(net: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(net(inputs).squeeze(-1), labels)


@torch.no_grad()
def _evaluate(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    return float(_loss(net.eval(), inputs, labels))


@torch.no_grad()
def _install(
    first: nn.Linear, last: nn.Linear, mean: Tensor, deviation: Tensor, target: nn.Sequential
) -> None:
    """Write weights learned on (x - mean) / deviation into a net that reads x."""
    weight = first.weight.cpu().double() / deviation  # [width, d]
    target.load_state_dict(
        {
            "0.weight": weight,
            "0.bias": first.bias.cpu().double() - weight @ mean,
            "2.weight": last.weight,
            "2.bias": last.bias,
        }
    )


def ranking_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Probability that a positive example scores above a negative one (area under the ROC curve).

    Args:
        scores: `[N]` any order-preserving measure.
        labels: `[N]` in [0, 1]; above 0.5 is positive.

    Returns:
        In [0, 1], ties counted half; nan if the examples lack either kind.
    """
    from sklearn.metrics import roc_auc_score  # a second that only training needs

    positive = labels > 0.5
    if bool(positive.all()) or not bool(positive.any()):
        return math.nan
    return float(roc_auc_score(positive.cpu().numpy(), scores.double().cpu().numpy()))
