"""Contrastive training of the learned bias: which tokens an emotion makes likelier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.signals import EMOTIONS
from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.likelihood import Figures, Likelihoods, Replies
from erm_gym.emotion.training.pairs import Pair
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.words import telling_words, written
from erm_gym.llm import FrozenLLM
from erm_gym.llm.suggestion import suggest

LEVELS = (0.0, 0.25, 1.0)
"""Strengths of an emotion at which pairs are measured."""
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class ModulatorTraining:
    """Hyperparameters of the contrastive phase."""

    beta: float = 10.0
    """Factor of the gain in margin within the loss; above 0."""
    kl_cost: float = 3.0
    """Cost of one nat per token between the biased LM and the LM; at least 0."""
    penalties: tuple[float, ...] = (0.01, 0.005, 0.002, 0.001, 0.0005)
    """Costs of one nat of bias on one word; the validation pairs decide which one is kept."""
    min_prompts: int = 4
    """A word is learned if it stands in replies to so many training prompts; at least 1."""
    tokens_kept: int = 256
    """Most tokens of an emotion that keep a weight, the strongest; at least 1."""
    limit: float = 3.0
    """Largest bias of a token, up or down, in nats; above 0."""
    epochs: int = 100
    """Most passes over the pairs."""
    batch_size: int = 64
    """Pairs per update."""
    learning_rate: float = 0.3
    """First step of a word's bias, in nats; later ones are shorter."""
    patience: int = 10
    """Epochs without a better validation loss before stopping."""

    def __post_init__(self) -> None:
        for name in ("min_prompts", "tokens_kept", "epochs", "batch_size", "patience"):
            require_range("ModulatorTraining", name, getattr(self, name), 1, math.inf)
        for name in ("beta", "limit", "learning_rate"):
            require_range("ModulatorTraining", name, getattr(self, name), 1e-6, math.inf)
        require_range("ModulatorTraining", "kl_cost", self.kl_cost, 0.0, math.inf)
        if not self.penalties:
            raise ValueError(
                "ModulatorTraining.penalties is empty; give at least one, such as 0.001."
            )
        for penalty in self.penalties:
            require_range("ModulatorTraining", "penalties", penalty, 0.0, math.inf)


@dataclass(frozen=True, kw_only=True)
class EmotionReport:
    """What was learned for one emotion, and what it does to the pairs it is measured on."""

    training_pairs: int
    """Pairs that it was learned from."""
    telling_words: int
    """Words that stood on one side of them; see `telling_words`."""
    tokens: int
    """Tokens that have a weight in the end."""
    penalty: float
    """The one that validation chose."""
    best_epoch: int
    """Epoch, from 1, whose weights were kept; 0 if none beat no bias at all."""
    validation_loss: float
    """Loss on the validation pairs there, without penalty."""
    pairs: int
    """Pairs that were measured."""
    before: tuple[Figures, ...]
    """What the modulator did to them before the training, at each of `LEVELS`: the rules and, if it
    had one, an older learned bias."""
    after: tuple[Figures, ...]
    """What it does now: the rules and the learned bias."""
    learned: tuple[Figures, ...]
    """What the learned bias does without the rules."""


@dataclass(frozen=True, kw_only=True)
class ModulatorReport:
    """What was learned, by emotion; those without pairs are not there."""

    emotions: dict[str, EmotionReport]

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON has."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class BoostedTokens:
    """What full emotion adds to single tokens, without the rules."""

    raised: list[tuple[str, float]]
    """Word and nats, the most raised one first; tokens that differ in case or in a leading space
    alone, and have the same bias, are one word."""
    lowered: list[tuple[str, float]]
    """The same of the most lowered ones, the most lowered one first."""


def train_modulator(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    pairs: Sequence[Pair],
    *,
    validation: Sequence[Pair],
    held_out: Sequence[Pair] | None = None,
    seed: int,
    training: ModulatorTraining | None = None,
    progress: Progress = no_progress,
) -> ModulatorReport:
    """Learn what each emotion adds to the LM's logits, from pairs of replies.

    The loss of a pair is -log sigmoid(beta * gain), where the gain is what the bias adds to the
    log-likelihood of the chosen reply per token, less the same of the rejected one. The bias is
    that of the emotion at 1, all others at 0, without the rules: it is learned for itself, and adds
    to them. It is linear in the emotion, so that nothing moves where nothing is felt. A divergence
    from the LM costs, and so does every nat on every word, which keeps most of them at exactly 0.
    The tokens of a word share a bias, and only `telling_words` may have one.

    A row of `W` starts afresh at each call, so the result depends on the pairs, the seed and the
    hyperparameters alone. Rows of emotions without pairs and the scale are left as they are. No
    global random state is changed.

    Args:
        critic: Its `modulator.W` is set in place.
        llm: The frozen LM that it biases.
        pairs: What to learn from.
        validation: Pairs that decide about the penalty and when to stop, for each of the emotions.
        held_out: Pairs for the report; None for those of validation.
        seed: Decides the order of the pairs.
        training: Hyperparameters.
        progress: Told how far it is.

    Raises:
        DataError: If an emotion lacks pairs or tokens to learn, or a reply cannot be read.
        ValueError: If the modulator's scale is 0, so that its weights have no effect.

    Source: our own, after the preference loss of Rafailov et al. 2023, equation 7, here of mean
    log-probabilities; the steps are those of Duchi, Hazan and Singer 2011, adaptive proximal
    gradient. The seed leaves this phase open.
    """
    training = training or ModulatorTraining()
    if float(critic.modulator.scale.detach()) == 0.0:
        raise ValueError("modulator.scale is 0: set it to another value, such as 0.5, to train W")
    emotions = [name for name in EMOTIONS if any(pair.emotion == name for pair in pairs)]
    if not emotions:
        raise DataError("there are no pairs to learn from; give some of at least one emotion")
    reports = {}
    for name in emotions:
        own, deciding = _of(name, pairs, "training"), _of(name, validation, "validation")
        shown = deciding if held_out is None else _of(name, held_out, "held-out")
        words = telling_words(llm, own, training.min_prompts)
        if not words:
            raise DataError(
                f"no word tells the chosen replies of {name} from the rejected ones with "
                f"{training.min_prompts} prompts or more; give more pairs"
            )
        replies = Replies(llm, [*own, *deciding], progress)
        problem = _Problem(
            likelihoods=replies.likelihoods(words),
            pairs=replies.numbers(own),
            validation=replies.numbers(deciding),
            training=training,
        )
        fits = [problem.fit(penalty, seed) for penalty in sorted(training.penalties, reverse=True)]
        fit = min(fits, key=lambda each: each.loss)  # the larger penalty on a tie
        before = _biases(critic, name)
        _install(critic, name, words, fit.bias, training.tokens_kept)
        after = _biases(critic, name)
        learned = torch.outer(torch.tensor(LEVELS).to(after), learned_bias(critic, name))
        replies = replies if held_out is None else Replies(llm, shown, progress)
        figures = _measure(replies, shown, before, after, learned)
        reports[name] = EmotionReport(
            training_pairs=len(own),
            telling_words=len(words),
            tokens=int(learned[-1].count_nonzero()),
            penalty=fit.penalty,
            best_epoch=fit.epoch,
            validation_loss=fit.loss,
            pairs=len(shown),
            before=figures[0],
            after=figures[1],
            learned=figures[2],
        )
    return ModulatorReport(emotions=reports)


def measure_bias(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    pairs: Sequence[Pair],
    progress: Progress = no_progress,
) -> tuple[Figures, ...]:
    """What the modulator, rules and learned bias, does to pairs at each of `LEVELS`.

    Args:
        critic: For the language model.
        llm: The frozen LM.
        pairs: Of one emotion.
        progress: Told how far it is.

    Raises:
        DataError: If there are no pairs, or a reply cannot be read.
    """
    if not pairs:
        raise DataError("there are no pairs to measure; give at least one")
    biases = _biases(critic, pairs[0].emotion)
    return _measure(Replies(llm, pairs, progress), pairs, biases)[0]


def boosted_tokens(
    critic: EmotionalCritic, llm: FrozenLLM, emotion: str, n: int = 15
) -> BoostedTokens:
    """The tokens that an emotion moves most.

    Args:
        critic: With a learned bias; the rules are left out.
        llm: The frozen LM whose tokens they are.
        emotion: One of `EMOTIONS`.
        n: Most words on each side; only those that are moved at all are there.

    Raises:
        ValueError: If the emotion is unknown.
    """
    if emotion not in EMOTIONS:
        raise ValueError(f"unknown emotion {emotion!r}; {suggest(emotion, EMOTIONS)}")
    bias = learned_bias(critic, emotion)
    nats = {
        (written(llm, token), float(bias[token])): None for token in bias.nonzero()[:, 0].tolist()
    }
    rows = sorted(nats, key=lambda row: row[1])
    return BoostedTokens(
        raised=[row for row in reversed(rows[-n:]) if row[1] > 0],
        lowered=[row for row in rows[:n] if row[1] < 0],
    )


@torch.no_grad()
def learned_bias(critic: EmotionalCritic, emotion: str) -> Tensor:
    """What an emotion at 1 adds to every token, without the rules: `[V]` in nats."""
    return critic.modulator.scale * critic.modulator.W[EMOTIONS.index(emotion)]


def _of(name: str, pairs: Sequence[Pair], what: str) -> list[Pair]:
    own = [pair for pair in pairs if pair.emotion == name]
    if not own:
        raise DataError(f"there are no {what} pairs of {name}; hold some of them out")
    return own


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """Where the validation loss of one penalty was lowest."""

    bias: Tensor
    """`[S]` in nats."""
    loss: float
    epoch: int
    penalty: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """Which bias on S words tells the replies of `[P, 2]` pairs apart."""

    likelihoods: Likelihoods
    pairs: Tensor
    validation: Tensor
    training: ModulatorTraining

    def loss(self, pairs: Tensor, bias: Tensor) -> Tensor:
        change, kl = self.likelihoods.change(bias, pairs.flatten())
        change = change.view_as(pairs)  # [P, 2]
        gain = change[:, 0] - change[:, 1]
        preference = functional.softplus(-self.training.beta * gain).mean()
        return preference + self.training.kl_cost * kl.mean()

    def fit(self, penalty: float, seed: int) -> _Fit:
        training, device = self.training, self.pairs.device
        generator = torch.Generator().manual_seed(seed)
        bias = torch.zeros(self.likelihoods.share.shape[1], device=device, requires_grad=True)
        squares = torch.zeros_like(bias)
        best = self._state(bias, 0, penalty)
        for epoch in range(1, training.epochs + 1):
            order = torch.randperm(len(self.pairs), generator=generator).to(device)
            for batch in order.split(training.batch_size):
                (gradient,) = torch.autograd.grad(self.loss(self.pairs[batch], bias), bias)
                with torch.no_grad():
                    squares += gradient.square()
                    step = training.learning_rate / (squares.sqrt() + TINY)
                    moved = bias - step * gradient
                    shrunk = moved.sign() * (moved.abs() - step * penalty).clamp(min=0.0)
                    bias.copy_(shrunk.clamp(-training.limit, training.limit))
            now = self._state(bias, epoch, penalty)
            if now.loss < best.loss:
                best = now
            elif epoch - best.epoch >= training.patience:
                break
        return best

    @torch.no_grad()
    def _state(self, bias: Tensor, epoch: int, penalty: float) -> _Fit:
        loss = float(self.loss(self.validation, bias))
        return _Fit(bias=bias.detach().clone(), loss=loss, epoch=epoch, penalty=penalty)


@torch.no_grad()
def _install(
    critic: EmotionalCritic,
    emotion: str,
    words: Sequence[Sequence[int]],
    bias: Tensor,
    tokens_kept: int,
) -> None:
    """Writes a bias `[S]` of words, in nats, into the row of an emotion: the strongest ones."""
    modulator = critic.modulator
    row, kept = torch.zeros_like(modulator.W[0]), 0
    for word in bias.abs().argsort(descending=True, stable=True).tolist():
        kept += len(words[word])
        if kept > tokens_kept:
            break
        row[words[word]] = bias[word] / modulator.scale
    modulator.W[EMOTIONS.index(emotion)] = row


@torch.no_grad()
def _biases(critic: EmotionalCritic, emotion: str) -> Tensor:
    """What an emotion adds to every token at each of `LEVELS`, rules included: `[levels, V]`."""
    signals = critic.modulator.W.new_zeros(len(LEVELS), len(EMOTIONS))
    signals[:, EMOTIONS.index(emotion)] = torch.tensor(LEVELS).to(signals)
    return critic.bias(signals)


def _measure(replies: Replies, pairs: Sequence[Pair], *biases: Tensor) -> list[tuple[Figures, ...]]:
    """Figures at each of `LEVELS` under each of some biases `[levels, V]`."""
    columns = torch.stack(biases).flatten(0, 1).any(0).nonzero()[:, 0]
    likelihoods = replies.likelihoods([[column] for column in columns.tolist()])
    numbers = replies.numbers(pairs)
    return [
        tuple(
            likelihoods.figures(numbers, own[columns], level)
            for level, own in zip(LEVELS, bias, strict=True)
        )
        for bias in biases
    ]
