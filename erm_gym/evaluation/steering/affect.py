"""Affect that a head reads in texts, unsteered and steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.evaluation.steering.conditions import SOURCES, Condition, Source
from erm_gym.llm import FrozenLLM
from erm_gym.llm.edits import Edit, Edits, hooked
from erm_gym.steering import (
    BINNINGS,
    AffectSteering,
    LowerStates,
    UpperLayers,
)
from erm_gym.steering.affect import mean_states, read_states
from erm_gym.steering.feedback import Mode

Reading = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepTexts:
    """Training and test texts, as far as they are the same for all heads."""

    llm: FrozenLLM
    upper: UpperLayers
    """From the first steered layer to the head's."""
    training_states: Tensor
    """`[N, d]` mean states at the head's layer."""
    training_ratings: Tensor
    """`[N, 2]` valence and arousal."""
    feedback: LowerStates
    """Of the first training texts, which the feedback connections learn from."""
    test: LowerStates
    """Of the n test texts."""
    test_texts: list[str]
    test_ratings: Tensor
    """`[n, 2]`."""

    @classmethod
    def read(
        cls,
        llm: FrozenLLM,
        upper: UpperLayers,
        training: LabelledTexts,
        test: LabelledTexts,
        *,
        feedback_texts: int,
        cache: Path,
        progress: Reading = lambda done, total: None,
    ) -> SweepTexts:
        """Reads both sets.

        Args:
            llm: The frozen LM.
            upper: From the first steered layer to the head's.
            training: Texts with ratings.
            test: Other ones.
            feedback_texts: Training texts that the feedback connections learn from.
            cache: `.npy` file for the training states, which are read once.
            progress: Told how many training texts were read, of how many.
        """
        return cls(
            llm=llm,
            upper=upper,
            training_states=_cached_states(upper, training.texts, cache, progress),
            training_ratings=training.values[:, :2],
            feedback=upper.read(training.texts[:feedback_texts]),
            test=upper.read(test.texts),
            test_texts=test.texts,
            test_ratings=test.values[:, :2],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeredHead:
    """What one seed trained, and what it makes of the test texts."""

    steering: AffectSteering
    """Pathways, feedback connections and signals."""
    bins: dict[tuple[str, Source], Tensor]
    """Bins `[n]` of the test texts, by binning and where they come from."""
    plain: np.ndarray
    """`[n, 2]` unsteered prediction for the test texts, standardised."""
    seed: int

    @classmethod
    def fit(
        cls,
        texts: SweepTexts,
        layers: Sequence[int],
        mode: Mode,
        seed: int,
        progress: Reading = lambda done, total: None,
    ) -> SteeredHead:
        """Fits all of it on the training texts.

        Args:
            texts: Both sets; of the test texts only the bins are worked out.
            layers: The steered layers.
            mode: How the modulation acts.
            seed: Of everything random.
            progress: Told how many batches of the feedback's training are done.
        """
        steering = AffectSteering.fit_states(
            texts.llm,
            texts.upper,
            texts.training_states,
            texts.training_ratings,
            texts.feedback,
            target_layers=layers,
            mode=mode,
            seed=seed,
            progress=progress,
        )
        pathways = steering.pathways
        with torch.no_grad():
            plain = pathways(mean_states(texts.upper, texts.test)).ratings
        seen = {
            "true": pathways.standardised(texts.test_ratings),
            "predicted": pathways.spread(plain),
        }
        return cls(
            steering=steering,
            bins={
                (name, source): grid.of(seen[source])
                for name, grid in BINNINGS.items()
                for source in SOURCES
            },
            plain=plain.numpy(),
            seed=seed,
        )

    def edits(self, condition: Condition, rows: Sequence[int]) -> Edits:
        """What steers some of the test texts.

        Args:
            condition: How.
            rows: Their numbers.
        """
        bins = self.bins[condition.binning, condition.source]
        signals = condition.signals(self.steering.signals[condition.binning], bins, self.seed)
        signals = signals[list(rows)]
        strength = torch.full((len(rows),), condition.strength)
        return {
            layer: self.steering.feedback.edit(layer, signals, strength)
            for layer in condition.layers
        }

    @torch.no_grad()
    def steered(self, texts: SweepTexts, condition: Condition) -> np.ndarray:
        """Predictions `[n, 2]` for the test texts at the second, steered pass, standardised."""
        found = np.empty((len(texts.test.rows), 2), np.float32)
        for rows in texts.test.batches():
            states = texts.upper.pooled(texts.test, rows, self.edits(condition, rows))
            found[rows] = self.steering.pathways(states).ratings.numpy()
        return found

    @torch.no_grad()
    def perplexity(self, texts: SweepTexts, condition: Condition | None, count: int) -> float:
        """Perplexity of the first `count` test texts, under the LM as it is if nothing steers it.

        It is inf where steering makes the LM's numbers overflow.
        """
        llm = texts.llm
        total, tokens = 0.0, 0
        start = texts.upper.start
        for row in range(min(count, len(texts.test_texts))):
            own = llm.encode_text(texts.test_texts[row])[: len(texts.test.rows[row]) - 1]
            edits = {} if condition is None else self.edits(condition, [row])
            with hooked(llm.model, {layer: _behind_first(edit) for layer, edit in edits.items()}):
                logits = llm.model(torch.tensor([[start, *own]], device=llm.device)).logits[0]
            logprobs = logits[:-1].float().log_softmax(dim=-1)  # [T, V]
            total -= float(logprobs.gather(1, torch.tensor(own)[:, None].to(logprobs.device)).sum())
            tokens += len(own)
        mean = total / tokens
        return float(np.exp(mean)) if np.isfinite(mean) else float("inf")


def _cached_states(
    upper: UpperLayers, texts: Sequence[str], cache: Path, progress: Reading
) -> Tensor:
    if cache.exists():
        states = torch.from_numpy(np.load(cache))
        if len(states) == len(texts):
            return states
    states = read_states(upper, texts, progress)
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, states.numpy())
    partial.replace(cache)
    return states


def _behind_first(edit: Edit) -> Edit:
    """The same edit, but not of the token before the text."""

    def changed(states: Tensor) -> Tensor:
        return torch.cat((states[:, :1], edit(states[:, 1:])), dim=1)

    return changed
