"""Experiment 22: anxiety about a predator that only the anxious agent sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.anxiety import Anxiety, flee, flight, nearer, twice_when_caught
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain, Override
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import train_then_evaluate

ENV_ID = "ErmGym/PredatorPrey-v0"


def anxious() -> list[Channel]:
    """Flight, a malus on moves towards the predator, and twice the learning when caught."""
    malus = Bonus(nearer, size=-10.0, threshold=0.2)
    return [Channel(Anxiety(), (malus, Override(flee, flight), LearningGain(twice_when_caught)))]


def run(
    seeds: Sequence[int], channels: Callable[[], Sequence[Channel]], *, episodes: int = 300
) -> Scores:
    """All episodes are training, and all count."""
    config = QConfig(epsilon=0.2, ties="first")
    trained, _ = train_then_evaluate(ENV_ID, seeds, channels, config, train=episodes, evaluate=0)
    return {
        "survival_time": trained["length"].mean(axis=1),
        "food": trained["food"].mean(axis=1),
        "survived": 1.0 - trained["caught"].mean(axis=1),
        "return": trained["return"].mean(axis=1),
    }


EXPERIMENT = Experiment(
    number="22",
    name="predator-prey",
    env_id=ENV_ID,
    seeds=50,
    arms={"standard": partial(run, channels=list), "anxiety": partial(run, channels=anxious)},
    short={"episodes": 5},
    figures={
        ("standard", "survival_time"): Figure(published=20.3),
        ("anxiety", "survival_time"): Figure(published=45.5),
        ("standard", "food"): Figure(published=0.30),
        ("anxiety", "food"): Figure(published=0.89),
        ("standard", "survived"): Figure(published=0.0),
        ("anxiety", "survived"): Figure(published=0.008),
    },
    note=(
        "Ours survives some five steps longer with anxiety. The text leaves open where pellets "
        "come back, how equal gaps are broken, and whether anxiety rises with every approach."
    ),
)
