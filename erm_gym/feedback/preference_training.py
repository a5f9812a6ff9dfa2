"""Trains the preference head: which of two replies do people prefer?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.training.pairs import Pair
from erm_gym.feedback.preference_head import PreferenceHead, mean_and_last
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

TEST_SHARE = 0.25
"""Share of the pairs that is held out."""
FOLDS = 5
"""Parts of the training pairs, each of which is left out once to choose the penalty."""
STRENGTHS = tuple(10.0 ** (-exponent / 2.0) for exponent in range(2, 13))
"""Inverse penalties that are tried: 0.1 down to 1e-6."""
FEWEST_PAIRS = 20
Z95 = 1.959964
"""The normal distribution has 95% of its mass within this many standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of pairs whose preferred reply scores higher; a tie counts half."""

    value: float
    """The share, in [0, 1]."""
    low: float
    """Lower end of Wilson's 95% interval."""
    high: float
    """Upper end."""
    pairs: int
    """Number of pairs."""

    @classmethod
    def of(cls, margins: np.ndarray) -> Accuracy:
        """The accuracy of margins `[n]`: the preferred reply's score less that of the other."""
        count, value = len(margins), float((margins > 0).mean() + 0.5 * (margins == 0).mean())
        spread = Z95**2 / count
        centre = (value + spread / 2.0) / (1.0 + spread)
        half = Z95 * math.sqrt(value * (1.0 - value) / count + spread / (4.0 * count))
        half /= 1.0 + spread
        return cls(value=value, low=centre - half, high=centre + half, pairs=count)


@dataclass(frozen=True, kw_only=True)
class PreferenceReport:
    """How well a preference head tells the preferred of two replies."""

    test: Accuracy
    """On the pairs that were held out; nothing was chosen by them."""
    cross_validated: Accuracy
    """On the training pairs, each read by a head that was fitted without it; the penalty was chosen
    by their log loss, so this is a little high."""
    train: Accuracy
    """On the training pairs, by the head itself."""
    test_length: Accuracy
    """On the held-out pairs, by length alone: the shorter, or the longer, reply is preferred,
    whichever is right more often in training."""
    shorter_is_preferred: bool
    """Which of the two it is."""
    test_better_than_length: tuple[int, int]
    """Held-out pairs that only the head gets right, and that only the length gets right."""
    test_log_loss: float
    """Log loss of the calibrated probabilities on the held-out pairs; a coin has .693."""
    strength: float
    """Inverse penalty that was chosen."""
    temperature: float
    """Factor by which the fitted margins were calibrated."""


def train_preference(
    llm: FrozenLLM,
    pairs: Sequence[Pair],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[PreferenceHead, PreferenceReport]:
    """Fits a Bradley-Terry head to pairs of replies.

    The probability that the first of two replies is preferred is sigmoid(m1 - m2), with a margin m
    that is linear in the standardised features of the reply (see `PreferenceHead`); fitting it is a
    logistic regression on the difference of features, without intercept. The penalty is chosen
    by log loss in cross-validation over the training pairs, and the margins are then multiplied by
    the factor that makes the left-out probabilities right. The margin 0 is laid at the mean of all
    training replies: an ordinary reply.

    Pairs that begin with the same words of the user are in the same part, in the split and in the
    cross-validation.

    Args:
        llm: The frozen LM.
        pairs: Which of two replies people preferred, at least 20.
        seed: Seed of the split.
        progress: Called with the number of texts that are read, and how many there are.

    Returns:
        The head in evaluation mode, and how well it does on the pairs that were held out.

    Raises:
        ValueError: If there are too few pairs.

    Source: Bradley and Terry 1952.
    """
    if len(pairs) < FEWEST_PAIRS:
        raise ValueError(f"{len(pairs)} pairs are too few; give at least {FEWEST_PAIRS}")
    replies = [reply for pair in pairs for reply in (pair.chosen, pair.rejected)]
    prompts = [pair.prompt for pair in pairs for _ in range(2)]
    read = read_replies(llm, prompts, replies, progress)
    features = torch.stack([mean_and_last(reply) for _, reply in read])
    lengths = np.array([len(reply.split()) for reply in replies], np.float64)
    groups = np.unique([opening(pair) for pair in pairs], return_inverse=True)[1]
    return fit_preference(features, lengths, groups, seed=seed)


def opening(pair: Pair) -> str:
    """What a conversation begins with."""
    return pair.prompt if isinstance(pair.prompt, str) else pair.prompt[0]["content"]


def fit_preference(
    features: Tensor, lengths: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> tuple[PreferenceHead, PreferenceReport]:
    """Fits the head once the replies are read; see `train_preference`.

    Args:
        features: `[2 N, 2 d]` float32; the preferred reply of each pair, then the other.
        lengths: `[2 N]` words of the replies.
        groups: `[N]` int; pairs of one group stay together.
        seed: Seed of the split.
    """
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit

    splitter = GroupShuffleSplit(n_splits=1, test_size=TEST_SHARE, random_state=seed)
    train, test = next(splitter.split(groups, groups=groups))
    both = np.stack([2 * train, 2 * train + 1], 1).ravel()  # the replies of the training pairs
    mean, std = features[both].mean(0), features[both].std(0) + 1e-4
    standard = ((features - mean) / std).numpy().astype(np.float64)
    differences = standard[::2] - standard[1::2]  # [N, 2 d]
    folds = list(GroupKFold(FOLDS).split(train, groups=groups[train]))

    left_out = {
        strength: _left_out_margins(differences[train], folds, strength) for strength in STRENGTHS
    }
    strength = min(
        STRENGTHS, key=lambda each: _log_loss(left_out[each] * _temperature(left_out[each]))
    )
    temperature = _temperature(left_out[strength])
    weight = _fit(differences[train], strength)
    margins = temperature * (differences @ weight)

    head = PreferenceHead(features.shape[1] // 2)
    head.mean, head.std = mean, std
    with torch.no_grad():
        # No bias: the features of the training replies have mean 0, and so have their margins.
        head.linear.weight.copy_(torch.from_numpy(temperature * weight)[None])
    shorter = lengths[1::2] - lengths[::2]  # [N], above 0 where the preferred reply is shorter
    shorter_is_preferred = bool(np.sign(shorter[train]).sum() >= 0)
    by_length = shorter[test] if shorter_is_preferred else -shorter[test]
    ours, theirs = margins[test] > 0, by_length > 0
    return head.eval(), PreferenceReport(
        test=Accuracy.of(margins[test]),
        cross_validated=Accuracy.of(left_out[strength]),
        train=Accuracy.of(margins[train]),
        test_length=Accuracy.of(by_length),
        shorter_is_preferred=shorter_is_preferred,
        test_better_than_length=(int((ours & ~theirs).sum()), int((theirs & ~ours).sum())),
        test_log_loss=_log_loss(margins[test]),
        strength=strength,
        temperature=temperature,
    )


def _fit(differences: np.ndarray, strength: float) -> np.ndarray:
    """Weights `[F]` of a Bradley-Terry model; each difference counts in both directions."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, fit_intercept=False, max_iter=2000)
    model.fit(np.concatenate([differences, -differences]), np.repeat([1, 0], len(differences)))
    weight: np.ndarray = model.coef_[0]
    return weight


def _left_out_margins(
    differences: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], strength: float
) -> np.ndarray:
    margins = np.zeros(len(differences))
    for rest, part in folds:
        margins[part] = differences[part] @ _fit(differences[rest], strength)
    return margins


def _temperature(margins: np.ndarray) -> float:
    """The factor above 0 with which margins have the lowest log loss, on a grid of 2%."""
    factors = 1.02 ** np.arange(-350, 351)  # 0.001 to 1,000
    return float(factors[np.argmin([_log_loss(factor * margins) for factor in factors])])


def _log_loss(margins: np.ndarray) -> float:
    return float(np.logaddexp(0.0, -margins).mean())
