"""Affect that a head reads in texts, unsteered and steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.evaluation.steering.conditions import SOURCES, Condition, Source
from erm_gym.llm import FrozenLLM
from erm_gym.llm.edits import Edit, Edits, hooked
from erm_gym.steering import AffectSteering, LowerStates, RatedStates, UpperLayers
from erm_gym.steering.feedback import Mode

Reading = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepTexts:
    """Training and test texts, as far as they are the same for all heads."""

    llm: FrozenLLM
    training: RatedStates
    """Training texts; the layers go from the first steered one to the head's."""
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
        feedback_share: float,
        progress: Reading = lambda done, total: None,
    ) -> SweepTexts:
        """Reads both sets.

        Args:
            llm: The frozen LM.
            upper: From the first steered layer to the head's.
            training: Texts with ratings.
            test: Other ones.
            feedback_share: Share of the training texts that the feedback connections learn from.
            progress: Told how many training texts were read, of how many.
        """
        return cls(
            llm=llm,
            training=RatedStates.read(
                upper,
                training.texts,
                training.values[:, :2],
                feedback_share=feedback_share,
                progress=progress,
            ),
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
            texts: Both sets; of the test texts nothing is learned.
            layers: The steered layers.
            mode: How the modulation acts.
            seed: Of everything random.
            progress: Told how many batches of the feedback's training are done.
        """
        steering = AffectSteering.fit_states(
            texts.llm,
            texts.training,
            target_layers=layers,
            mode=mode,
            seed=seed,
            progress=progress,
        )
        pathways, plain = steering.pathways, steering.first_pass(texts.test)
        seen = {
            "true": pathways.standardised(texts.test_ratings),
            "predicted": pathways.spread(plain),
        }
        return cls(
            steering=steering,
            bins={
                (name, source): own.grid.of(seen[source])
                for name, own in steering.signals.items()
                for source in SOURCES
            },
            plain=plain.numpy(),
            seed=seed,
        )

    def signals(self, condition: Condition) -> Tensor:
        """What each test text is steered by, `[n, 2, 128]`."""
        binning = condition.config.binning
        bins = self.bins[binning, condition.source]
        return condition.signals(self.steering.signals[binning], bins, self.seed)

    def steered(self, texts: SweepTexts, condition: Condition) -> np.ndarray:
        """Predictions `[n, 2]` for the test texts at the second, steered pass, standardised."""
        signals = self.signals(condition)
        return self.steering.second_pass(texts.test, condition.config, signals).numpy()

    @torch.no_grad()
    def perplexity(
        self, texts: SweepTexts, condition: Condition | None, rows: Sequence[int]
    ) -> float:
        """Perplexity of some test texts, under the LM as it is if nothing steers it.

        It is inf where steering makes the LM's numbers overflow.
        """
        llm = texts.llm
        total, tokens = 0.0, 0
        start = texts.training.upper.start
        signals = torch.empty(0) if condition is None else self.signals(condition)
        for row in rows:
            own = llm.encode_text(texts.test_texts[row])[: len(texts.test.rows[row]) - 1]
            edits: Edits = {}
            if condition is not None:
                edits = self.steering.edits(condition.config, signals[row : row + 1])
            with hooked(llm.model, {layer: _behind_first(edit) for layer, edit in edits.items()}):
                logits = llm.model(torch.tensor([[start, *own]], device=llm.device)).logits[0]
            logprobs = logits[:-1].float().log_softmax(dim=-1)  # [T, V]
            total -= float(logprobs.gather(1, torch.tensor(own)[:, None].to(logprobs.device)).sum())
            tokens += len(own)
        mean = total / tokens
        return float(np.exp(mean)) if np.isfinite(mean) else float("inf")


def _behind_first(edit: Edit) -> Edit:
    """The same edit, but not of the token before the text."""

    def changed(states: Tensor) -> Tensor:
        return torch.cat((states[:, :1], edit(states[:, 1:])), dim=1)

    return changed
