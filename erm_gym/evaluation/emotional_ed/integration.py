"""Experiment 7: fear, anger and regret at once, by weights."""

from __future__ import annotations

from functools import partial

import numpy as np

from erm_gym.agents.emotional_ed import Channel, Context, Transition
from erm_gym.agents.emotional_ed.anger import Anger
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import LearningGain, RankReversing, ScaledBest
from erm_gym.agents.emotional_ed.goal_regret import (
    GoalRegret,
    RandomWhereRegretted,
    RememberedRegret,
)
from erm_gym.agents.emotional_ed.integrated_agents import scaled_up
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure
from erm_gym.evaluation.emotional_ed.protocols import evaluated_means

ENV_ID = "ErmGym/Integration-v0"


def by_hits(count: np.ndarray, context: Context) -> np.ndarray:
    """`.2 n` of n consecutive hits of the wall; bumps into the edge add nothing."""
    return 0.2 * count


def less_from_costs(error: np.ndarray, level: np.ndarray, transition: Transition) -> np.ndarray:
    """`1 - e / 2` where e > .3 and the reward is negative."""
    return np.where((level > 0.3) & (transition.reward < 0.0), 1.0 - 0.5 * level, 1.0)


def integrated(fear: float, anger: float, regret: float) -> list[Channel]:
    """Form B for fear, form C for anger, random actions for regret, and the gains.

    Args:
        fear: Weight of the fear.
        anger: Weight of the anger, of its action part only.
        regret: Weight of the regret, of its gain only.
    """
    irritation = Anger(by_hits, relief=0.1, counted="wall_hit")
    return [
        Channel(ProximityFear(), [RankReversing(), LearningGain(scaled_up)], weight=fear),
        Channel(irritation, [ScaledBest(anger, threshold=0.3), LearningGain(less_from_costs)]),
        Channel(GoalRegret(), [LearningGain(scaled_up)], weight=regret),
        Channel(RememberedRegret(), [RandomWhereRegretted()]),
    ]


NAMES = ("risky", "safe", "walled", "truncated", "wall_hits", "return")
"""Which goal an episode ends at, and what it took."""
run = partial(evaluated_means, ENV_ID, NAMES, train=200, evaluate=50)


EXPERIMENT = Experiment(
    number="7",
    name="integration",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "fear-dominant": partial(run, channels=partial(integrated, 1.0, 0.2, 0.2)),
        "anger-dominant": partial(run, channels=partial(integrated, 0.2, 1.0, 0.2)),
        "regret-dominant": partial(run, channels=partial(integrated, 0.2, 0.2, 1.0)),
        "balanced": partial(run, channels=partial(integrated, 0.5, 0.5, 0.5)),
        "no-anger": partial(run, channels=partial(integrated, 0.2, 0.0, 0.2)),
        "standard": partial(run, channels=list),
    },
    short={"train": 10, "evaluate": 3},
    figures={
        ("fear-dominant", "risky"): Figure(published=0.0, rerun=0.020),
        ("anger-dominant", "risky"): Figure(published=0.329, rerun=0.244),
        ("no-anger", "risky"): Figure(rerun=0.281),
        ("standard", "risky"): Figure(rerun=0.289),
    },
    note=(
        "Fewer episodes end at the risky goal than in the re-run, .006 against .020 of the fear "
        "and .136 against .244 of the anger. How many episodes its statistics train, and which "
        "state a regret is remembered of, is not known: 200 and the last one are our guesses."
    ),
)
