"""V2 CVaR fear: an agent that looks at worse outcomes near a threat, with nothing at stake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig, QLearner
from erm_gym.agents.emotional_ed.controls import Constant
from erm_gym.agents.emotional_ed.fear import ProximityFear
from erm_gym.agents.emotional_ed.forms import RiskAversion
from erm_gym.agents.emotional_ed.quantile_table import PublishedQuantileLearner
from erm_gym.evaluation.classic_runs import make_rows, number_of_actions, number_of_states, play
from erm_gym.evaluation.emotional_ed.experiment import Arm, Experiment, Figure, Scores

ENV_ID = "ErmGym/Gamble-v0"


def cvar() -> list[Channel]:
    """Looks at the worst share `1 - .9 F`, as the code does now."""
    return [Channel(ProximityFear(), [RiskAversion(slope=0.9)])]


def cvar_half() -> list[Channel]:
    """Looks at the worst share `.5 - .4 F`, as in the report."""
    half = Channel(Constant(0.5), [RiskAversion(slope=1.0)])
    return [half, Channel(ProximityFear(), [RiskAversion(slope=0.4)])]


def run(
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    learner: type[QLearner] = PublishedQuantileLearner,
    *,
    episodes: int = 100,
) -> Scores:
    """All episodes are training, and all count.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        learner: What learns.
        episodes: At least 1.

    Returns:
        Hits in all episodes, and the mean return.
    """
    envs = make_rows(ENV_ID, len(seeds))
    states = number_of_states(envs.single_observation_space)
    actions = number_of_actions(envs.single_action_space)
    agent = learner(seeds, states, actions, QConfig(ties="first"), channels())
    first = [int(seed) for seed in seeds]
    trained = play(envs, agent, episodes, seed=first, limit_ends=True)
    return {
        "hits": trained["hits"].sum(axis=1),
        "return": trained["return"].mean(axis=1),
    }


def _arm(
    channels: Callable[[], Sequence[Channel]], learner: type[QLearner] = PublishedQuantileLearner
) -> Arm:
    return partial(run, channels=channels, learner=learner)


EXPERIMENT = Experiment(
    number="V2 CVaR",
    name="cvar-fear",
    env_id=ENV_ID,
    seeds=50,
    arms={
        "standard": _arm(list),
        "cvar": _arm(cvar),
        "cvar-half": _arm(cvar_half),
        "plain-q": _arm(list, QLearner),
    },
    short={"episodes": 5},
    figures={
        ("standard", "hits"): Figure(published=9.94, rerun=9.94),
        ("cvar", "hits"): Figure(rerun=10.54),
        ("cvar-half", "hits"): Figure(published=11.58),
        ("plain-q", "hits"): Figure(rerun=9.36),
        ("standard", "return"): Figure(published=0.665),
        ("cvar-half", "return"): Figure(published=0.634),
        ("plain-q", "return"): Figure(rerun=0.717),
    },
)
