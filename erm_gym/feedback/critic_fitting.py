"""All three parts of a critic from data to weights: what `erm-gym erm train` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.training.contexts import labelled_contexts
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.fitting import FitReport, fit_erm
from erm_gym.emotion.training.likelihood import Figures
from erm_gym.emotion.training.modulator import ModulatorReport, measure_bias, train_modulator
from erm_gym.emotion.training.pairs import Pair, read_pairs
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.supervised import ERMTraining
from erm_gym.feedback.critic_training import FearReport, train_fear_module
from erm_gym.feedback.judge import read_labelled_replies
from erm_gym.feedback.modulator_pairs import gather_pairs
from erm_gym.feedback.prompts import load_prompts
from erm_gym.llm import FrozenLLM


@dataclass(frozen=True, kw_only=True)
class CriticReport:
    """How the training of a critic went."""

    erm: FitReport
    """The ERM."""
    fear: FearReport
    """The FearModule."""
    modulator: ModulatorReport | None
    """The learned bias; None if the language model has no word tokens, of which it consists."""
    preferences: tuple[Figures, ...]
    """What the bias does to replies that people preferred; empty if there were none."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON has."""
        return {
            **self.erm.as_dict(),
            "fear": asdict(self.fear),
            "modulator": self.modulator and self.modulator.as_dict(),
            "preferences": [asdict(each) for each in self.preferences],
        }


def fit_critic(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    *,
    goemotions: LabelledTexts | None,
    emobank: LabelledTexts | None,
    training: ERMTraining,
    cache: Path,
    preferred: Sequence[Pair] = (),
    progress: Progress = no_progress,
) -> CriticReport:
    """Train the ERM, the FearModule and the learned bias of a new critic.

    The FearModule and the bias learn from the prompts, replies and pairs of this package too.

    Args:
        critic: Trained in place.
        llm: The language model that it was made for.
        goemotions: Texts with 28 labels; None leaves the emotions of the ERM untrained.
        emobank: Texts with ratings; None leaves valence, arousal and dominance untrained.
        training: Hyperparameters of the ERM; its seed is that of the other parts as well.
        cache: Folder of hidden states and unfinished trainings. A second call goes on with them.
        preferred: Replies that people preferred to others, which only measure.
        progress: Told how far it is.

    Raises:
        DataError: If texts cannot be read by the language model, or the disk is full.
        TrainingDiverged: If the loss is no number.
    """
    seed = training.seed
    erm = fit_erm(
        critic,
        llm,
        goemotions=goemotions,
        emobank=emobank,
        training=training,
        cache=cache,
        progress=progress,
    )
    labelled = None
    if goemotions is not None:
        labelled = labelled_contexts(
            critic, llm, goemotions, cache=cache, seed=seed, progress=progress
        )
    pool, replies = load_prompts("default"), read_labelled_replies()
    fear = train_fear_module(
        critic, llm, pool, replies, labelled=labelled, seed=seed, progress=progress
    )
    modulator: ModulatorReport | None = None
    preferences: tuple[Figures, ...] = ()
    if len(critic.modulator.category("cautious")):
        pairs = gather_pairs(pool, replies, own=read_pairs(), seed=seed)
        modulator = train_modulator(
            critic,
            llm,
            pairs.train,
            validation=pairs.validation,
            held_out=pairs.test,
            seed=seed,
            progress=progress,
        )
        if preferred:
            preferences = measure_bias(critic, llm, preferred, progress)
    return CriticReport(erm=erm, fear=fear, modulator=modulator, preferences=preferences)
