"""Configuration of the emotional critic, and the error of a critic that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.erm import ERMConfig
from erm_gym.emotion.fear import FearConfig
from erm_gym.emotion.modulation import ModulationConfig, TemperatureConfig
from erm_gym.emotion.signals import EMOTIONS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Part = TypeVar("Part", bound="DataclassInstance")


class CriticError(ValueError):
    """A saved critic is missing, damaged, or made for another language model; it names the fix."""


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """What an emotional critic is made of, and for which language model."""

    llm_name: str
    """Name of the language model, for messages."""
    llm_fingerprint: str
    """Identifies the language model: a critic reads the hidden states of one model only."""
    hidden_size: int
    """d, size of the hidden states; at least 1."""
    vocab_size: int
    """V, number of logits; at least 1."""
    layer: int
    """Layer of the language model that the FearModule reads; at least 0, which is the embedding."""
    erm: ERMConfig
    """Form of the ERM, and the layers that it reads."""
    trained: bool = False
    """Whether the ERM has been trained; the danger net does not count."""
    thresholds: tuple[float, ...] = ()
    """Probability above which each of the six emotions, then each of the ERM's labels, is said to
    be there: the largest F1 on validation data. Empty unless the ERM has been trained."""
    keep_tonic_fear: bool = False
    """Whether tonic fear outlives the end of an episode."""
    seed: int = 0
    """Seed of the initial weights; at least 0."""
    fear: FearConfig = field(default_factory=FearConfig)
    """Constants of the FearModule."""
    modulation: ModulationConfig = field(default_factory=ModulationConfig)
    """Constants of the LogitModulator."""
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    """Constants of the TemperatureModulator."""

    def __post_init__(self) -> None:
        require_range("CriticConfig", "hidden_size", self.hidden_size, 1, math.inf)
        require_range("CriticConfig", "vocab_size", self.vocab_size, 1, math.inf)
        require_range("CriticConfig", "layer", self.layer, 0, math.inf)
        require_range("CriticConfig", "seed", self.seed, 0, 2**63 - 1)
        if len(self.thresholds) not in (0, len(EMOTIONS) + len(self.erm.labels)):
            raise ValueError(
                f"CriticConfig.thresholds has {len(self.thresholds)} entries for {len(EMOTIONS)} "
                f"emotions and {len(self.erm.labels)} labels."
            )
        for threshold in self.thresholds:
            require_range("CriticConfig", "thresholds", threshold, 0.0, 1.0)

    @property
    def layers(self) -> tuple[int, ...]:
        """The L layers of the language model that the critic reads, ascending."""
        return tuple(sorted({self.layer, *self.erm.layers}))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CriticConfig:
        """Return the configuration that `dataclasses.asdict` turned into plain values.

        Args:
            values: Nested dictionaries, as read from JSON.

        Raises:
            ValueError: A key is unknown or missing, or a value is out of range.
        """
        parts = {
            "erm": ERMConfig,
            "fear": FearConfig,
            "modulation": ModulationConfig,
            "temperature": TemperatureConfig,
        }
        own = dict(values)
        for name, part in parts.items():
            if name in own:
                own[name] = _built(part, own[name], name)
        return _built(cls, own, "the configuration of a critic")


def _built(kind: type[Part], values: Any, name: str) -> Part:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {values!r}, not a table of values")
    try:
        return kind(**{key: _frozen(value) for key, value in values.items()})
    except TypeError as error:
        known = [each.name for each in fields(kind)]
        raise ValueError(f"{error}; the keys of {name} are {known}") from error


def _frozen(value: Any) -> Any:
    """JSON has lists where a configuration has tuples."""
    return tuple(value) if isinstance(value, list) else value
