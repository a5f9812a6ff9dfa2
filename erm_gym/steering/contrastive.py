"""Contrastive activation addition: a direction in the residual stream, with no pathway."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erm_gym.llm import FrozenLLM, LLMError, read_layers
from erm_gym.llm.edits import Edit, Edits
from erm_gym.llm.suggestion import suggest

WEIGHTS = "contrastive.safetensors"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastiveDirections:
    """One direction per emotion and layer: mean state of texts that have it, minus of others.

    Source: Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition", section 2;
    labelled texts in place of pairs of answers, and adding it to the reply's own tokens, are our
    choice.
    """

    emotions: tuple[str, ...]
    """Names of E emotions."""
    layers: tuple[int, ...]
    """Numbers of L hidden layers."""
    directions: Tensor
    """`[E, L, d]` float32."""
    counts: tuple[tuple[int, int], ...]
    """Texts with each emotion, and those beside them."""
    fingerprint: str
    """Of the language model that they belong to."""

    def edits(self, weights: Tensor) -> Edits:
        """What steers n rows, each by its own amount.

        Args:
            weights: `[n, E]` how much of each emotion's direction is added; negative takes away.

        Returns:
            Edits of all layers; none if all weights are 0, so that nothing at all is changed then.

        Raises:
            ValueError: If the shape is wrong or a weight is not finite.
        """
        if weights.ndim != 2 or weights.shape[1] != len(self.emotions):
            raise ValueError(
                f"weights must have the shape (n, {len(self.emotions)}), one column for each of "
                f"{', '.join(self.emotions)}; got {tuple(weights.shape)}"
            )
        if not bool(torch.isfinite(weights).all()):
            raise ValueError("a steering weight is not finite")
        if not bool(weights.any()):
            return {}
        own = weights.to(self.directions)
        offsets = torch.einsum("ne,eld->lnd", own, self.directions)  # [L, n, d]
        return dict(zip(self.layers, map(_add, offsets), strict=True))

    def number(self, emotion: str) -> int:
        """Place of an emotion.

        Raises:
            ValueError: If there is none of that name.
        """
        if emotion not in self.emotions:
            raise ValueError(f"unknown emotion {emotion!r}; {suggest(emotion, self.emotions)}")
        return self.emotions.index(emotion)

    def to(self, device: torch.device) -> ContrastiveDirections:
        """The same on another device."""
        return ContrastiveDirections(
            emotions=self.emotions,
            layers=self.layers,
            directions=self.directions.to(device),
            counts=self.counts,
            fingerprint=self.fingerprint,
        )

    def require(self, llm: FrozenLLM) -> None:
        """Raises LLMError if they were taken from another model."""
        if llm.fingerprint != self.fingerprint:
            raise LLMError(
                f"the directions belong to {self.fingerprint}, and {llm.name} is "
                f"{llm.fingerprint}; make new ones for it with erm-gym steer fit"
            )

    def save(self, folder: Path) -> None:
        """Writes `contrastive.safetensors`, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "emotions": self.emotions,
            "layers": self.layers,
            "counts": self.counts,
            "fingerprint": self.fingerprint,
        }
        partial = folder / f"{WEIGHTS}.partial"
        save_file(
            {"directions": self.directions.contiguous().cpu()},
            partial,
            metadata={"about": json.dumps(about)},
        )
        partial.replace(folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> ContrastiveDirections:
        """Reads what `save` wrote.

        Raises:
            LLMError: If the file is missing, cut off, or none of these.
        """
        path = folder / WEIGHTS
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                directions = file.get_tensor("directions")
            return cls(
                emotions=tuple(about["emotions"]),
                layers=tuple(about["layers"]),
                directions=directions,
                counts=tuple((int(one), int(other)) for one, other in about["counts"]),
                fingerprint=about["fingerprint"],
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise LLMError(
                f"{path} is no file of steering directions, or was cut off: {error}; make it again "
                "with erm-gym steer fit"
            ) from error


def contrastive_directions(
    llm: FrozenLLM,
    texts: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    layers: Sequence[int],
    *,
    progress: Progress = lambda done, total: None,
) -> ContrastiveDirections:
    """Takes directions from texts.

    Args:
        llm: The frozen LM.
        texts: By emotion: texts that have it, and texts that do not; none empty.
        layers: Numbers of the hidden layers, 1 to `num_layers` - 1.
        progress: Told how many sides are read, of how many.

    Raises:
        ValueError: If there is no emotion, a side has no texts, or there is no such layer.
    """
    if not texts or not all(one and other for one, other in texts.values()):
        raise ValueError("every emotion needs texts that have it, and texts that do not")
    for layer in layers:
        if not 1 <= layer < llm.num_layers:
            raise ValueError(
                f"{llm.name} is steered at layers 1 to {llm.num_layers - 1}; {layer} was asked for"
            )
    means = []
    for side in (side for sides in texts.values() for side in sides):
        means.append(_mean_states(llm, side, layers))
        progress(len(means), 2 * len(texts))
    return ContrastiveDirections(
        emotions=tuple(texts),
        layers=tuple(layers),
        directions=torch.stack(means[::2]) - torch.stack(means[1::2]),
        counts=tuple((len(one), len(other)) for one, other in texts.values()),
        fingerprint=llm.fingerprint,
    )


@torch.no_grad()
def _mean_states(llm: FrozenLLM, texts: Sequence[str], layers: Sequence[int]) -> Tensor:
    """Mean over texts of their mean states as something a user says, `[L, d]` float32."""
    sequences = [[*llm.template, *llm.encode_text(text)] for text in texts]
    states = read_layers(llm, sequences, layers, shared=llm.template)
    return torch.stack([own.float().mean(dim=0) for own in states]).mean(dim=0).cpu()


def _add(offset: Tensor) -> Edit:
    def add(states: Tensor) -> Tensor:
        return states + offset[:, None].to(states)

    return add
