"""All that `erm-gym steer fit` wrote for a language model: what replies can be steered towards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from erm_gym.llm import FrozenLLM
from erm_gym.llm.digest import digest
from erm_gym.llm.edits import Edits
from erm_gym.steering.affect import WEIGHTS as AFFECT_WEIGHTS
from erm_gym.steering.affect import AffectSteering
from erm_gym.steering.binning import COARSE
from erm_gym.steering.config import SteeringConfig, SteeringError, require_known
from erm_gym.steering.contrastive import WEIGHTS as DIRECTION_WEIGHTS
from erm_gym.steering.contrastive import ContrastiveDirections


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSteering:
    """Directions of emotions, and signals of bins of valence and arousal."""

    directions: ContrastiveDirections | None = None
    """Of emotions; None if they were not fitted."""
    affect: AffectSteering | None = None
    """Pathways, feedback connections and signals; None if they were not fitted."""

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that have a direction."""
        return () if self.directions is None else self.directions.emotions

    @property
    def bins(self) -> tuple[str, ...]:
        """Bins of the coarse grid."""
        return () if self.affect is None else tuple(self.affect.signals[COARSE].grid.labels)

    def about(self) -> dict[str, Any]:
        """Where it steers, and digits that tell its numbers from others."""
        found: dict[str, Any] = {}
        if self.directions is not None:
            found["directions"] = {
                "layers": self.directions.layers,
                "digest": digest([self.directions.directions.cpu().numpy().tobytes()]),
            }
        if self.affect is not None:
            found["affect"] = {
                "layers": self.affect.feedback.layers,
                "digest": self.affect.digest(),
            }
        return found

    def require(self, targets: Iterable[str]) -> None:
        """Raises SteeringError if replies cannot be steered towards one of some targets."""
        for target in targets:
            self.edits(target, 1.0, 1)

    def edits(self, target: str, strength: float, rows: int) -> Edits:
        """What steers all rows towards an emotion or a bin.

        Args:
            target: Name of an emotion, whose direction is added, or of a bin such as
                `positive, strong`, whose signals modulate all layers with feedback connections.
            strength: How much; of a direction it may be negative.
            rows: Number n of rows.

        Returns:
            Edits by layer; none at strength 0.

        Raises:
            SteeringError: If there is no such target, or too few training texts are in the bin.
        """
        require_known("target", target, (*self.emotions, *self.bins))
        if self.directions is not None and target in self.emotions:
            weights = torch.zeros(rows, len(self.emotions))
            weights[:, self.directions.number(target)] = strength
            return self.directions.edits(weights)
        assert self.affect is not None
        config = SteeringConfig(
            approach="dual", strength=strength, target_layers=self.affect.feedback.layers
        )
        return self.affect.edits_towards([target] * rows, config)

    @classmethod
    def load(cls, folder: Path, llm: FrozenLLM) -> Self:
        """Reads what there is.

        Args:
            folder: That `erm-gym steer fit` wrote.
            llm: The frozen LM that it was fitted to.

        Raises:
            SteeringError: If nothing is there.
            LLMError: If a file was cut off, or made for another LM.
            SignalError: If a file of signals was.
        """
        directions = affect = None
        if (folder / DIRECTION_WEIGHTS).exists():
            directions = ContrastiveDirections.load(folder)
            directions.require(llm)
        if (folder / AFFECT_WEIGHTS).exists():
            affect = AffectSteering.load(folder, llm)
        if directions is None and affect is None:
            raise SteeringError(f"{folder} holds nothing that steers; run erm-gym steer fit first")
        return cls(directions=directions, affect=affect)
