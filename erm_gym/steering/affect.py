"""Steering of affect that is read in texts: pathways, feedback connections and signals as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erm_gym.llm import FrozenLLM, LLMError
from erm_gym.llm.edits import Edits
from erm_gym.steering.binning import BINNINGS, find_binning
from erm_gym.steering.config import SteeringConfig, SteeringError, masked
from erm_gym.steering.feedback import FeedbackConnections, Mode
from erm_gym.steering.fitting import fit_feedback, fit_pathways
from erm_gym.steering.pathways import AffectPathways
from erm_gym.steering.signals import SteeringSignals, extract_signals
from erm_gym.steering.upper import LowerStates, UpperLayers

WEIGHTS = "affect.safetensors"
CHUNK = 512
"""Texts that are read at a time."""
Progress = Callable[[str, int, int], None]


class AffectSteering:
    """Reads valence and arousal of texts at a first pass, and steers a second one by their bins.

    Attributes:
        pathways: The head.
        feedback: From its signals into the layers below it.
        signals: By the name of the binning.
        upper: The layers from the first steered one to the head's.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        pathways: AffectPathways,
        feedback: FeedbackConnections,
        signals: dict[str, SteeringSignals],
    ) -> None:
        """Puts trained parts together.

        Args:
            llm: The frozen LM that they were trained on.
            pathways: Trained pathways.
            feedback: Trained connections.
            signals: By the name of the binning.
        """
        self.llm = llm
        self.pathways, self.feedback, self.signals = pathways, feedback, signals
        self.upper = UpperLayers(llm, min(feedback.layers), pathways.layer)

    @classmethod
    def fit(
        cls,
        llm: FrozenLLM,
        texts: Sequence[str],
        ratings: Tensor,
        *,
        head_layer: int = 18,
        target_layers: Sequence[int] = (14, 16),
        mode: Mode = "multiplicative",
        feedback_texts: int = 2000,
        seed: int = 0,
        progress: Progress = lambda work, done, total: None,
    ) -> Self:
        """Trains all of it.

        Args:
            llm: The frozen LM.
            texts: N rated texts.
            ratings: `[N, 2]` their valence and arousal.
            head_layer: Hidden layer that is read, above the steered ones.
            target_layers: Hidden layers that can be steered.
            mode: How the modulation acts.
            feedback_texts: Texts that the feedback connections learn from, the first ones.
            seed: Of everything random.
            progress: Told what is done, how much of it, and of how much.

        Raises:
            ValueError: If layers are out of order, or texts too few.
        """
        upper = UpperLayers(llm, min(target_layers), head_layer)
        states = read_states(upper, texts, lambda *done: progress("texts read", *done))
        return cls.fit_states(
            llm,
            upper,
            states,
            ratings,
            upper.read(texts[:feedback_texts]),
            target_layers=target_layers,
            mode=mode,
            seed=seed,
            progress=lambda *done: progress("feedback connections", *done),
        )

    @classmethod
    def fit_states(
        cls,
        llm: FrozenLLM,
        upper: UpperLayers,
        states: Tensor,
        ratings: Tensor,
        lower: LowerStates,
        *,
        target_layers: Sequence[int],
        mode: Mode,
        seed: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Self:
        """Trains all of it on texts that were read before.

        Args:
            llm: The frozen LM.
            upper: The layers from the first steered one to the head's.
            states: `[N, d]` mean states of the texts at the head's layer.
            ratings: `[N, 2]` their valence and arousal.
            lower: States of the first texts, which the feedback connections learn from.
            target_layers: Hidden layers that can be steered.
            mode: How the modulation acts.
            seed: Of everything random.
            progress: Told how many batches of the feedback's training are done, of how many.
        """
        pathways = fit_pathways(states, ratings, upper.last, seed=seed)
        feedback = fit_feedback(
            pathways,
            upper,
            lower,
            ratings[: len(lower.rows)],
            layers=target_layers,
            mode=mode,
            seed=seed,
            progress=progress,
        )
        with torch.no_grad():
            activations = pathways(states).signals
        rated = pathways.standardised(ratings)
        signals = {name: extract_signals(activations, rated, name) for name in BINNINGS}
        return cls(llm, pathways, feedback, signals)

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> Tensor:
        """Unsteered valence and arousal `[n, 2]`, standardised as the training ratings were."""
        return self.pathways(mean_states(self.upper, self.upper.read(texts))).ratings

    @torch.no_grad()
    def steered(
        self, texts: Sequence[str], config: SteeringConfig, ratings: Tensor | None = None
    ) -> Tensor:
        """Valence and arousal at a second pass, steered by the bin of the first one.

        Args:
            texts: n texts.
            config: What is steered, where and how strongly.
            ratings: `[n, 2]` true ratings, from which the bins are taken instead: with these, what
                is to be predicted is given away.

        Returns:
            `[n, 2]`, standardised.

        Raises:
            SteeringError: If a layer has no feedback connections.
        """
        unknown = set(config.target_layers) - set(self.feedback.layers)
        if unknown:
            raise SteeringError(
                f"layers {sorted(unknown)} cannot be steered; {self.feedback.layers} can"
            )
        lower = self.upper.read(texts)
        if ratings is None:
            seen = self.pathways.spread(self.pathways(mean_states(self.upper, lower)).ratings)
        else:
            seen = self.pathways.standardised(ratings)
        own = self.signals[config.binning]
        bins = find_binning(config.binning).of(seen)
        usable = own.counts[bins] >= config.min_samples
        signals = masked(config.approach, own.means[bins] * usable[:, None, None])
        found = torch.empty(len(texts), 2)
        for rows in lower.batches():
            edits = self.edits(config, signals[rows])
            found[rows] = self.pathways(self.upper.pooled(lower, rows, edits)).ratings.cpu()
        return found

    def edits(self, config: SteeringConfig, signals: Tensor) -> Edits:
        """What steers n texts, each by its own signal.

        Args:
            config: Layers and strength.
            signals: `[n, 2, 128]`.

        Returns:
            Edits by layer; none at strength 0, so that nothing at all is changed then.
        """
        if config.strength == 0.0:
            return {}
        strength = torch.full((len(signals),), config.strength)
        return {
            layer: self.feedback.edit(layer, signals, strength) for layer in config.target_layers
        }

    def save(self, folder: Path) -> None:
        """Writes `affect.safetensors` and the files of the signals, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "fingerprint": self.llm.fingerprint,
            "hidden_size": self.llm.hidden_size,
            "head_layer": self.pathways.layer,
            "target_layers": self.feedback.layers,
            "mode": self.feedback.mode,
        }
        tensors = {
            f"{part}.{name}": value.contiguous()
            for part, module in (("pathways", self.pathways), ("feedback", self.feedback))
            for name, value in module.state_dict().items()
        }
        partial = folder / f"{WEIGHTS}.partial"
        save_file(tensors, partial, metadata={"about": json.dumps(about)})
        partial.replace(folder / WEIGHTS)
        for signals in self.signals.values():
            signals.save(folder)

    @classmethod
    def load(cls, folder: Path, llm: FrozenLLM) -> Self:
        """Reads what `save` wrote.

        Raises:
            LLMError: If the file is missing, cut off, or made for another LM.
            SignalError: If a file of signals is.
        """
        path = folder / WEIGHTS
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            pathways = AffectPathways(about["hidden_size"], about["head_layer"])
            feedback = FeedbackConnections(
                about["hidden_size"], about["target_layers"], mode=about["mode"]
            )
            for part, module in (("pathways", pathways), ("feedback", feedback)):
                own = {
                    name.removeprefix(f"{part}."): value
                    for name, value in tensors.items()
                    if name.startswith(f"{part}.")
                }
                module.load_state_dict(own)
                module.eval().requires_grad_(False)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise LLMError(
                f"{path} holds no affect pathways, or was cut off: {error}; make it again with "
                "erm-gym steer fit"
            ) from error
        if about["fingerprint"] != llm.fingerprint:
            raise LLMError(
                f"{path} belongs to {about['fingerprint']}, and {llm.name} is {llm.fingerprint}; "
                "make another one for it with erm-gym steer fit"
            )
        signals = {name: SteeringSignals.load(folder, name) for name in BINNINGS}
        return cls(llm, pathways, feedback, signals)


@torch.no_grad()
def mean_states(upper: UpperLayers, lower: LowerStates) -> Tensor:
    """Unsteered mean states of texts at `upper.last`, `[N, d]` float32 on the CPU."""
    states = torch.empty(len(lower.rows), lower.rows[0].shape[1])
    for rows in lower.batches():
        states[rows] = upper.pooled(lower, rows, {}).float().cpu()
    return states


def read_states(
    upper: UpperLayers, texts: Sequence[str], progress: Callable[[int, int], None]
) -> Tensor:
    """Unsteered mean states `[N, d]` of texts, some at a time.

    Args:
        upper: The layers.
        texts: N texts.
        progress: Told how many are read, of how many.
    """
    found = []
    for start in range(0, len(texts), CHUNK):
        found.append(mean_states(upper, upper.read(texts[start : start + CHUNK])))
        progress(min(start + CHUNK, len(texts)), len(texts))
    return torch.cat(found)
