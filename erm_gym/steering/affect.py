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
from erm_gym.llm.digest import digest
from erm_gym.llm.edits import Edits
from erm_gym.steering.binning import BINNINGS, THRESHOLD, grids
from erm_gym.steering.config import (
    SteeringConfig,
    SteeringError,
    choose_signals,
    require_known,
)
from erm_gym.steering.feedback import FeedbackConnections, Mode, check_connections
from erm_gym.steering.feedback_fitting import fit_feedback
from erm_gym.steering.pathway_fitting import fit_pathways
from erm_gym.steering.pathways import AffectPathways
from erm_gym.steering.reading import FEEDBACK_SHARE, RatedStates, mean_states
from erm_gym.steering.signals import SteeringSignals, extract_signals
from erm_gym.steering.upper import LowerStates, UpperLayers

WEIGHTS = "affect.safetensors"
Progress = Callable[[str, int, int], None]


class AffectSteering:
    """Reads valence and arousal of texts at a first pass, and steers a second one by their bins.

    Attributes:
        pathways: The head.
        feedback: From its signals into the layers below it.
        signals: By the name of the grid.
        upper: The layers from the first steered one to the head's.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        pathways: AffectPathways,
        feedback: FeedbackConnections,
        signals: dict[str, SteeringSignals],
    ) -> None:
        """Puts trained parts together, on the LM's device.

        Args:
            llm: The frozen LM that they were trained on.
            pathways: Trained pathways.
            feedback: Trained connections.
            signals: By the name of the grid.
        """
        self.llm = llm
        self.pathways, self.feedback = pathways.to(llm.device), feedback.to(llm.device)
        self.signals = signals
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
        threshold: float = THRESHOLD,
        feedback_share: float = FEEDBACK_SHARE,
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
            threshold: Border of the middle bins, in standard deviations.
            feedback_share: Share of the texts that the feedback connections learn from.
            seed: Of everything random but the draw of that share, which is always the same.
            progress: Told what is done, how much of it, and of how much.

        Raises:
            ValueError: If layers are out of order, texts too few, or a number is out of range.
        """
        data = RatedStates.read(
            cls.check(
                llm,
                head_layer=head_layer,
                target_layers=target_layers,
                mode=mode,
                threshold=threshold,
            ),
            texts,
            ratings,
            feedback_share=feedback_share,
            progress=lambda *done: progress("texts read", *done),
        )
        return cls.fit_states(
            llm,
            data,
            target_layers=target_layers,
            mode=mode,
            threshold=threshold,
            seed=seed,
            progress=lambda *done: progress("feedback connections", *done),
        )

    @staticmethod
    def check(
        llm: FrozenLLM,
        *,
        head_layer: int,
        target_layers: Sequence[int],
        mode: Mode,
        threshold: float,
    ) -> UpperLayers:
        """Checks settings of `fit`, which takes long.

        Returns:
            The layers from the first steered one to the head's.

        Raises:
            ValueError: It names what is out of range or order.
        """
        grids(threshold)
        check_connections(target_layers, mode)
        return UpperLayers(llm, min(target_layers), head_layer)

    @classmethod
    def fit_states(
        cls,
        llm: FrozenLLM,
        data: RatedStates,
        *,
        target_layers: Sequence[int],
        mode: Mode,
        threshold: float = THRESHOLD,
        seed: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Self:
        """Trains all of it on texts that were read before.

        Args:
            llm: The frozen LM.
            data: What it read.
            target_layers: Hidden layers that can be steered.
            mode: How the modulation acts.
            threshold: Border of the middle bins.
            seed: Of everything random.
            progress: Told how many batches of the feedback's training are done, of how many.
        """
        pathways = fit_pathways(data.states, data.ratings, data.upper.last, seed=seed)
        with torch.no_grad():
            activations = pathways(data.states).signals
        rated = pathways.standardised(data.ratings)
        signals = {
            name: extract_signals(activations, rated, grid)
            for name, grid in grids(threshold).items()
        }
        feedback = fit_feedback(
            pathways,
            data,
            signals,
            layers=target_layers,
            mode=mode,
            seed=seed,
            progress=progress,
        )
        return cls(llm, pathways, feedback, signals)

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> Tensor:
        """Unsteered valence and arousal `[n, 2]`, standardised as the training ratings were."""
        return self.first_pass(self.upper.read(texts))

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
        lower = self.upper.read(texts)
        if ratings is None:
            seen = self.pathways.spread(self.first_pass(lower))
        else:
            seen = self.pathways.standardised(ratings)
        own = self.signals[config.binning]
        return self.second_pass(lower, config, choose_signals(config, own, own.grid.of(seen)))

    @torch.no_grad()
    def first_pass(self, lower: LowerStates) -> Tensor:
        """Unsteered valence and arousal `[n, 2]` of texts that were read before, standardised."""
        return self.pathways(mean_states(self.upper, lower)).ratings.cpu()

    @torch.no_grad()
    def second_pass(self, lower: LowerStates, config: SteeringConfig, signals: Tensor) -> Tensor:
        """Steered valence and arousal of texts that were read before.

        Args:
            lower: States of n texts.
            config: Layers and strength.
            signals: `[n, 2, 128]` what each is steered by.

        Returns:
            `[n, 2]`, standardised.

        Raises:
            SteeringError: If a layer has no feedback connections.
        """
        found = torch.empty(len(lower.rows), 2)
        for rows in lower.batches():
            edits = self.edits(config, signals[rows])
            found[rows] = self.pathways(self.upper.pooled(lower, rows, edits)).ratings.cpu()
        return found

    def edits_towards(self, bins: Sequence[str], config: SteeringConfig) -> Edits:
        """What steers n rows, such as replies, each towards a bin.

        Args:
            bins: n labels of the config's grid, such as `positive, strong`.
            config: How it steers.

        Raises:
            SteeringError: If there is no such bin, too few training texts are in it, or a layer
                has no feedback connections.
        """
        own = self.signals[config.binning]
        labels = own.grid.labels
        for label in bins:
            require_known("bin", label, labels)
            count = int(own.counts[labels.index(label)])
            if count < config.min_samples:
                raise SteeringError(
                    f"the bin {label!r} has {count} training texts, and min_samples is "
                    f"{config.min_samples}; choose another bin, fit on more texts, or lower "
                    "min_samples"
                )
        numbers = torch.tensor([labels.index(label) for label in bins])
        return self.edits(config, choose_signals(config, own, numbers))

    def edits(self, config: SteeringConfig, signals: Tensor) -> Edits:
        """What steers n texts, each by its own signal.

        Args:
            config: Layers and strength.
            signals: `[n, 2, 128]`.

        Returns:
            Edits by layer; none at strength 0, so that nothing at all is changed then.

        Raises:
            SteeringError: If a layer has no feedback connections.
        """
        unknown = set(config.target_layers) - set(self.feedback.layers)
        if unknown:
            raise SteeringError(
                f"layers {sorted(unknown)} cannot be steered; {self.feedback.layers} can"
            )
        if config.strength == 0.0:
            return {}
        strength = torch.full((len(signals),), config.strength)
        return {
            layer: self.feedback.edit(layer, signals, strength) for layer in config.target_layers
        }

    def digest(self) -> str:
        """Tells all of its numbers from others."""
        modules = (self.pathways, self.feedback)
        weights = [one for module in modules for one in module.state_dict().values()]
        signals = [one.digest() for one in self.signals.values()]
        return digest(
            [*(one.cpu().numpy().tobytes() for one in weights), *map(str.encode, signals)]
        )

    def save(self, folder: Path) -> None:
        """Writes the files of the signals, then `affect.safetensors`, each whole or not at all.

        The last one knows the others, so that a fit that was cut off in between is not taken for
        one that belongs together.
        """
        for signals in self.signals.values():
            signals.save(folder)
        about = {
            "signals": {name: one.digest() for name, one in self.signals.items()},
            "fingerprint": self.llm.fingerprint,
            "hidden_size": self.llm.hidden_size,
            "head_layer": self.pathways.layer,
            "target_layers": self.feedback.layers,
            "mode": self.feedback.mode,
        }
        tensors = {
            f"{part}.{name}": value.contiguous().cpu()
            for part, module in (("pathways", self.pathways), ("feedback", self.feedback))
            for name, value in module.state_dict().items()
        }
        partial = folder / f"{WEIGHTS}.partial"
        save_file(tensors, partial, metadata={"about": json.dumps(about)})
        partial.replace(folder / WEIGHTS)

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
            digests = dict(about["signals"])
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
        for name, one in signals.items():
            if digests.get(name) != one.digest():
                raise LLMError(
                    f"the {name} signals in {folder} belong to another fit than {WEIGHTS}; make "
                    "all of it again with erm-gym steer fit"
                )
        return cls(llm, pathways, feedback, signals)
