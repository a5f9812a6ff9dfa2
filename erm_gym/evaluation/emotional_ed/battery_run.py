"""Experiment 23: patience with a battery that never binds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.forms import Bonus, Override
from erm_gym.agents.emotional_ed.patience import (
    Patience,
    more_patient_than_not,
    step_to_charger,
    towards_charger,
)
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import means, train_then_evaluate

ENV_ID = "ErmGym/BatteryRun-v0"


def patient() -> list[Channel]:
    """Steps to the nearest charger, and a bonus for them."""
    bonus = Bonus(towards_charger, size=10.0, threshold=0.2)
    return [Channel(Patience(), (bonus, Override(step_to_charger, more_patient_than_not)))]


def run(
    seeds: Sequence[int], channels: Callable[[], Sequence[Channel]], *, episodes: int = 400
) -> Scores:
    """All episodes are training, and all count.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        episodes: At least 1.
    """
    config = QConfig(epsilon=0.2, discount=0.95, ties="first")
    trained, _ = train_then_evaluate(
        ENV_ID, seeds, channels, config, train=episodes, evaluate=0, limit_ends=True
    )
    return means(trained, ("empty", "waypoints", "completed", "return"))


EXPERIMENT = Experiment(
    number="23",
    name="battery-run",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": partial(run, channels=list),
        "patience": partial(run, channels=patient),
    },
    short={"episodes": 2},
    figures={
        ("standard", "empty"): Figure(published=0.907),
        ("patience", "empty"): Figure(published=0.0),
        ("standard", "waypoints"): Figure(published=0.30),
        ("patience", "waypoints"): Figure(published=0.64),
        ("standard", "return"): Figure(published=-44.3),
        ("patience", "return"): Figure(published=1.4),
        ("standard", "completed"): Figure(published=0.001),
        ("patience", "completed"): Figure(published=0.002),
    },
    note=(
        "The patient agent finds .667 waypoints here against .64: it goes up or down first where a "
        "charger lies both ways, which the text leaves open."
    ),
)
