"""Experiment 4: grief for a resource that is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.forms import Bonus, LearningGain
from erm_gym.agents.emotional_ed.grief import Grief, numbed
from erm_gym.evaluation.classic_runs import make_rows, play
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import EVALUATION_SEED, learner_for

ENV_ID = "ErmGym/LostResource-v0"


def grieving(weight: float, width: int) -> list[Channel]:
    """Form D towards the last pick-up, and less learned from losses.

    Args:
        weight: Of grief.
        width: Columns of the grid.
    """
    grief = Grief(width)
    return [Channel(grief, [Bonus(grief.homewards, size=0.5), LearningGain(numbed)], weight)]


def learning_part() -> list[Channel]:
    """A control: the grief of the statistics, without its bonus."""
    return [Channel(Grief(7), [LearningGain(numbed)], 0.8)]


def run(
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    *,
    size: int = 5,
    loss: int = 50,
    steps: int = 150,
    practice: int = 20,
) -> Scores:
    """Practises in episodes that end before the loss; then one with it, in which learning goes on.

    Practice is cut off, which is no end to learn from; the last episode's time limit is one.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        size: Rows and columns of the grid.
        loss: The last step with the resource, and the length of practice.
        steps: Of the last episode.
        practice: Episodes before it.

    Returns:
        Visits to the place after the loss: `visits` in all, `visits_1` to `visits_4` in the first
        four times 20 steps.
    """
    learner, found = None, {}
    for episodes, limit, first in ((practice, loss, 0), (1, steps, EVALUATION_SEED)):
        envs = make_rows(ENV_ID, len(seeds), size=size, loss=loss, steps=limit)
        learner = learner or learner_for(envs, seeds, channels, QConfig(ties="first"))
        own = [first + seed for seed in seeds]
        found = play(envs, learner, episodes, seed=own, limit_ends=limit == steps)
    return {name: np.array(found[name][:, 0]) for name in found if name.startswith("visits")}


def run_statistics(seeds: Sequence[int], channels: Callable[[], Sequence[Channel]]) -> Scores:
    """The statistics: a larger grid, an earlier loss, and less practice.

    Args:
        seeds: One per row.
        channels: Makes the channels.

    Returns:
        `visits`.
    """
    scores = run(seeds, channels, size=7, loss=30, steps=120, practice=5)
    return {"visits": scores["visits"]}


EXPERIMENT = Experiment(
    number="4",
    name="grief",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": partial(run, channels=list),
        "grief": partial(run, channels=lambda: grieving(0.7, 5)),
    },
    short={"practice": 2},
    figures={
        ("standard", "visits_1"): Figure(published=9.14),
        ("grief", "visits_1"): Figure(published=9.24, rerun=9.30),
        ("standard", "visits_2"): Figure(published=8.96),
        ("grief", "visits_2"): Figure(published=8.88, rerun=9.10),
        ("standard", "visits_3"): Figure(published=9.22),
        ("grief", "visits_3"): Figure(published=8.98, rerun=9.22),
        ("standard", "visits_4"): Figure(published=9.26),
        ("grief", "visits_4"): Figure(published=9.00, rerun=9.08),
    },
    note="The report has 5 or 20 episodes of practice; these are 20.",
)

STATISTICS = Experiment(
    number="4 12b",
    name="grief-statistics",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": partial(run_statistics, channels=list),
        "grief": partial(run_statistics, channels=lambda: grieving(0.8, 7)),
        "learning-part": partial(run_statistics, channels=learning_part),
    },
    figures={
        ("standard", "visits"): Figure(published=32.7),
        ("grief", "visits"): Figure(published=41.4),
        ("learning-part", "visits"): Figure(rerun=32.3),
    },
    note=(
        "With 300 seeds ours are 31.6 and 39.2. Visits are sensitive to what was learned in the "
        "five episodes of practice: with 50 steps each they are 37.7 and 40.8."
    ),
)
