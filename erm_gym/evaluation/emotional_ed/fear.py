"""Experiment 1: fear of a threat that costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.fear_agents import more_from_losses
from erm_gym.agents.emotional_ed.forms import LearningGain, RankPreserving
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import EVALUATION_EPSILON, means, train_then_evaluate

ENV_ID = "ErmGym/FearGrid-v0"


def feared() -> list[Channel]:
    """Form A, and a gain that grows with fear; half of the weight, as in the statistics."""
    influences = (RankPreserving(), LearningGain(more_from_losses))
    return [Channel(ProximityFear(), influences, weight=0.5)]


def run(seeds: Sequence[int], channels: Callable[[], Sequence[Channel]]) -> Scores:
    """200 episodes, then 50 with epsilon .05 and no learning."""
    config = QConfig(ties="first")
    _, evaluated = train_then_evaluate(
        ENV_ID, seeds, channels, config, train=200, evaluate=50, epsilon=EVALUATION_EPSILON
    )
    return means(evaluated, ("min_threat_distance", "return"))


EXPERIMENT = Experiment(
    number="1",
    name="fear",
    env_id=ENV_ID,
    seeds=50,
    arms={"standard": partial(run, channels=list), "fear": partial(run, channels=feared)},
    figures={
        ("standard", "min_threat_distance"): Figure(published=0.26, rerun=0.327),
        ("fear", "min_threat_distance"): Figure(published=0.63, rerun=0.573),
    },
    note="The anger gain of the original, which edge bumps raise, is left out: it has no effect.",
)
"""The statistics of 50 seeds; the demonstration has one seed."""
