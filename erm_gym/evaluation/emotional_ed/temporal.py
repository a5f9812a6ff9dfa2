"""Experiment 8: a mood that is read where the price of a step has already spoilt it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig, Transition
from erm_gym.agents.emotional_ed.forms import ScaledBest
from erm_gym.agents.emotional_ed.mood import MoodyExploration, MoodyRewards, TonicMood
from erm_gym.evaluation.emotional_ed.experiment import Arm, Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import means, train_then_evaluate

ENV_ID = "ErmGym/Temporal-v0"
FIRST, LAST = 100, 199
"""Steps over which the mood is read."""
EPISODES = 20
"""So many have 200 steps at least, since none is shorter than 10."""


class ReadMood(TonicMood):
    """The published mood, whose sum over the steps that count is kept."""

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.steps = self.per_row()
        self.sum = self.per_row()

    def feel(self, transition: Transition) -> None:
        """Feels, and reads."""
        super().feel(transition)
        self.sum += self.level * ((self.steps >= FIRST) & (self.steps <= LAST))
        self.steps += 1.0


def tonic() -> list[Channel]:
    """The mood scales exploration, the best value and the rewards."""
    influences = (MoodyExploration(), ScaledBest(threshold=0.0), MoodyRewards())
    return [Channel(ReadMood(), influences)]


def run(
    seeds: Sequence[int], channels: Callable[[], Sequence[Channel]], *, episodes: int = EPISODES
) -> Scores:
    """Learns throughout.

    Args:
        seeds: One per row.
        channels: Makes the channels; those whose emotion is a `ReadMood` have a mood.
        episodes: At least 1.

    Returns:
        The mean mood of the steps that count, 0 without a mood; the mean return; and events.
    """
    made = list(channels())
    trained, _ = train_then_evaluate(
        ENV_ID,
        seeds,
        lambda: made,
        QConfig(ties="first"),
        train=episodes,
        evaluate=0,
        limit_ends=True,
    )
    scores = means(trained, ("return", "harms", "bonuses"))
    moods = [each.emotion for each in made if isinstance(each.emotion, ReadMood)]
    count = LAST + 1 - FIRST
    mood = moods[0].sum / count if moods else 0.0 * scores["return"]
    return {"mood": mood, **scores}


def _arm(channels: Callable[[], Sequence[Channel]]) -> Arm:
    return partial(run, channels=channels)


EXPERIMENT = Experiment(
    number="8",
    name="temporal",
    env_id=ENV_ID,
    seeds=50,
    arms={"phasic": _arm(list), "tonic": _arm(tonic)},
    short={"episodes": 2},
    figures={
        ("phasic", "mood"): Figure(published=0.0),
        ("tonic", "mood"): Figure(published=-0.977),
    },
    note=(
        "The phasic agent has no mood: its figure is the constant 0, so no effect size says "
        "anything; it is a plain learner here. The mood is -.997 against -.977, since the agent "
        "meets with harm more often and the goal less: where the threats are, and how mood scales "
        "exploration, is not known. Step costs alone make it as bad."
    ),
)
