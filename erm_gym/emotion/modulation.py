"""What emotions do to the choice of a token: an additive bias on logits, and a temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.categories import CATEGORIES, category_ids, check_category
from erm_gym.emotion.signals import EMOTIONS, EmotionalSignals, signals_tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RULES = {"cautious": "fear", "exploratory": "curiosity", "alternative": "anger"}
"""The emotion that boosts each token category."""


@dataclass(frozen=True, kw_only=True)
class ModulationConfig:
    """Constants of `LogitModulator`.

    Source: emotional reward model (the project's seed document), LogitModulator.
    """

    rule_threshold: float = 0.5
    """An emotion boosts its category only above this value (not at it); in [0, 1]."""
    rule_gain: float = 2.0
    """Added to the logits of the category per unit of emotion, in nats; at least 0."""
    initial_scale: float = 0.5
    """Value at which the learned scale starts."""

    def __post_init__(self) -> None:
        require_range("ModulationConfig", "rule_threshold", self.rule_threshold, 0.0, 1.0)
        require_range("ModulationConfig", "rule_gain", self.rule_gain, 0.0, math.inf)
        require_range("ModulationConfig", "initial_scale", self.initial_scale, -math.inf, math.inf)


class LogitModulator(nn.Module):
    """Bias on token logits: `scale * signals @ W`, learned, plus one rule per token category.

    Fear above 0.5 adds 2 * fear to cautious tokens, curiosity above 0.5 adds 2 * curiosity to
    exploratory tokens, anger above 0.5 adds 2 * anger to alternative-seeking tokens. `W` starts at
    zero, so a new modulator is its rules alone, and with all signals at or below 0.5 its bias is 0.

    Attributes:
        W: `[6, V]` learned bias of each emotion on each token.
        scale: Learned factor of `W`, a scalar.
        cautious: `[V]` bool, cautious tokens; likewise `exploratory` and `alternative`.

    Source: emotional reward model (the project's seed document), LogitModulator; its diagram has
    the rule of anger.
    """

    def __init__(self, vocab_size: int, config: ModulationConfig | None = None) -> None:
        """Build a modulator whose categories are empty.

        Args:
            vocab_size: V, number of logits of the language model.
            config: Constants of the rules.
        """
        super().__init__()
        self.vocab_size = vocab_size
        self.config = config or ModulationConfig()
        self.W = nn.Parameter(torch.zeros(len(EMOTIONS), vocab_size))
        self.scale = nn.Parameter(torch.tensor(float(self.config.initial_scale)))
        for name in CATEGORIES:
            self.register_buffer(name, torch.zeros(vocab_size, dtype=torch.bool))

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        vocab_size: int,
        config: ModulationConfig | None = None,
    ) -> LogitModulator:
        """Return a modulator whose categories are those of a tokenizer (see `category_ids`).

        Args:
            tokenizer: Any Hugging Face tokenizer.
            vocab_size: V, number of logits of the language model (it may exceed the tokenizer's).
            config: Constants of the rules.
        """
        modulator = cls(vocab_size, config)
        for name in CATEGORIES:
            modulator.set_category(name, category_ids(tokenizer, name))
        return modulator

    def set_category(self, name: str, ids: Sequence[int] | Tensor) -> None:
        """Replace the tokens of a category.

        Args:
            name: "cautious", "exploratory" or "alternative".
            ids: Token ids in [0, V); may be empty.

        Raises:
            ValueError: The category or a token id does not exist.
        """
        check_category(name)
        mask = self.get_buffer(name)
        index = torch.as_tensor(ids, dtype=torch.int64, device=mask.device)
        outside = index[(index < 0) | (index >= self.vocab_size)]
        if outside.numel():
            raise ValueError(
                f"Token id {int(outside[0])} of category {name!r} is outside the vocabulary of "
                f"{self.vocab_size} tokens."
            )
        mask.zero_()
        mask[index] = True

    def category(self, name: str) -> Tensor:
        """Return the token ids of a category, `[N]` int64, sorted."""
        check_category(name)
        return self.get_buffer(name).nonzero().squeeze(-1)

    def is_cautious(self, candidates: Tensor) -> Tensor:
        """Return which candidates, int64 of any shape, are cautious tokens: bool of that shape."""
        return self.get_buffer("cautious")[candidates]

    def forward(
        self, signals: EmotionalSignals | Tensor, candidates: Tensor | None = None
    ) -> Tensor:
        """Return the bias to add to logits.

        Args:
            signals: `[..., 6]` emotional values in [0, 1].
            candidates: `[..., A]` int64 token ids; None for the whole vocabulary.

        Returns:
            `[..., A]` bias of the candidates, or `[..., V]`; 0 where nothing is felt strongly and
            nothing was learned.
        """
        values = signals_tensor(signals)
        if candidates is None:
            bias = self.scale * (values @ self.W)  # [..., V]
        else:
            weights = self.W[:, candidates]  # [6, ..., A]
            bias = self.scale * torch.einsum("...e,e...a->...a", values, weights)
        felt = values > self.config.rule_threshold
        drives = torch.where(felt, self.config.rule_gain * values, torch.zeros_like(values))
        for name, emotion in RULES.items():
            mask = self.get_buffer(name)
            members = mask if candidates is None else mask[candidates]  # [V] or [..., A]
            drive = drives[..., EMOTIONS.index(emotion), None]  # [..., 1]
            bias = bias + drive * members
        return bias


@dataclass(frozen=True, kw_only=True)
class TemperatureConfig:
    """Constants of `TemperatureModulator`.

    Source: emotional reward model (the project's seed document), TemperatureModulator. Its diagram
    has fear raise the temperature; its code, followed here, has fear lower it.
    """

    base: float = 1.0
    """Temperature before emotions act; above 0."""
    fear: float = 0.3
    """Share of the temperature that full fear takes away; in [0, 1]."""
    curiosity: float = 0.3
    """Share of the temperature that full curiosity adds; at least 0."""
    confidence_offset: float = 1.5
    """The last factor is this minus confidence; at least 1."""
    minimum: float = 0.1
    """Smallest temperature; above 0."""
    maximum: float = 2.0
    """Largest temperature; at least the minimum."""

    def __post_init__(self) -> None:
        tiny = 1e-6  # a temperature divides logits
        require_range("TemperatureConfig", "base", self.base, tiny, math.inf)
        require_range("TemperatureConfig", "fear", self.fear, 0.0, 1.0)
        require_range("TemperatureConfig", "curiosity", self.curiosity, 0.0, math.inf)
        require_range(
            "TemperatureConfig", "confidence_offset", self.confidence_offset, 1.0, math.inf
        )
        require_range("TemperatureConfig", "minimum", self.minimum, tiny, math.inf)
        require_range("TemperatureConfig", "maximum", self.maximum, self.minimum, math.inf)


class TemperatureModulator(nn.Module):
    """Sampling temperature, lowered by fear and confidence and raised by curiosity.

    base * (1 - 0.3 fear) * (1 + 0.3 curiosity) * (1.5 - confidence), clamped to [0.1, 2].
    Confidence 0.5 is neutral: a mind without any confidence samples at 1.5 times the base.

    Source: emotional reward model (the project's seed document), TemperatureModulator.
    """

    def __init__(self, config: TemperatureConfig | None = None) -> None:
        """Build the modulator.

        Args:
            config: Constants of the formula.
        """
        super().__init__()
        self.config = config or TemperatureConfig()

    def forward(self, signals: EmotionalSignals | Tensor) -> Tensor:
        """Return the temperature `[...]` of emotional values `[..., 6]` in [0, 1]."""
        felt = EmotionalSignals(signals_tensor(signals))
        temperature = (
            self.config.base
            * (1.0 - self.config.fear * felt.fear)
            * (1.0 + self.config.curiosity * felt.curiosity)
            * (self.config.confidence_offset - felt.confidence)
        )
        return temperature.clamp(self.config.minimum, self.config.maximum)
