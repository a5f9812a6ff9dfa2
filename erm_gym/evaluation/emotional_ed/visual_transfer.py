"""Experiment 21: fear of the threats' colour, carried to another map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from erm_gym.agents.emotional_ed import Channel, QConfig
from erm_gym.agents.emotional_ed.colour_fear import ShunsThreats, ThreatColourFear
from erm_gym.evaluation.classic_runs import make_rows, play
from erm_gym.evaluation.emotional_ed.experiment import Experiment, Figure, Scores
from erm_gym.evaluation.emotional_ed.protocols import learner_for

ENV_ID = "ErmGym/VisualTransfer-v0"


def feared() -> list[Channel]:
    """Fear that is told every threat of the present map."""
    fear = ThreatColourFear()
    return [Channel(fear, [ShunsThreats(fear)])]


def run(
    seeds: Sequence[int],
    channels: Callable[[], Sequence[Channel]],
    *,
    trained: int = 100,
    transferred: int = 50,
) -> Scores:
    """Trains on map A, looks at map B without learning, then trains there.

    Args:
        seeds: One per row.
        channels: Makes the channels.
        trained: Episodes on map A.
        transferred: Episodes of training on map B, at least 20.
    """
    config = QConfig(epsilon=0.2, ties="first")
    first, second = (make_rows(ENV_ID, len(seeds), threats=name) for name in ("A", "B"))
    learner = learner_for(first, seeds, channels, config)
    play(first, learner, trained, seed=list(seeds))
    zero_shot = play(second, learner, 5, seed=list(seeds), learning=False)
    later = play(second, learner, transferred, seed=list(seeds))
    return {
        "zero_shot_hits": zero_shot["hits"].mean(axis=1),
        "zero_shot_return": zero_shot["return"].mean(axis=1),
        "first_ten_hits": later["hits"][:, :10].mean(axis=1),
        "last_ten_hits": later["hits"][:, -10:].mean(axis=1),
    }


EXPERIMENT = Experiment(
    number="21",
    name="visual-transfer",
    env_id=ENV_ID,
    seeds=50,
    arms={"standard": partial(run, channels=list), "fear": partial(run, channels=feared)},
    short={"trained": 5, "transferred": 5},
    figures={
        ("standard", "zero_shot_hits"): Figure(published=1.78),
        ("fear", "zero_shot_hits"): Figure(published=0.69),
        ("standard", "zero_shot_return"): Figure(published=-8.36),
        ("fear", "zero_shot_return"): Figure(published=-0.51),
        ("standard", "first_ten_hits"): Figure(published=1.35),
        ("fear", "first_ten_hits"): Figure(published=0.79),
        ("standard", "last_ten_hits"): Figure(rerun=0.41),
        ("fear", "last_ten_hits"): Figure(rerun=0.71),
    },
    note="The fearful agent is told every threat of the present map; nothing is generalised. Its "
    "last ten episodes have more hits than the standard agent's there: printed, and not reported. "
    "Ours has fewer, and fewer in the first ten; forgetting the colour with every episode does not "
    "explain it (1.5 hits at once).",
)
