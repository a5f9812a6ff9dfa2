"""The risk-averse user's score, by hand from the probabilities of a judge that is made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import Episode, Prompt, RiskAverseUser, StanceJudge
from erm_gym.llm import FrozenLLM


class FakeJudge:
    """Says what it was told to say."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = np.array(rows, np.float32)

    def judge_episodes(self, episodes: Sequence[Episode]) -> np.ndarray:
        return self.rows[: len(episodes)]


def user_of(*rows: Sequence[float]) -> RiskAverseUser:
    judge: Any = FakeJudge(rows)
    return RiskAverseUser(judge)


def episode(risk: float) -> Episode:
    return Episode(prompt=Prompt(text="?", risk=risk), reply="!")


@pytest.mark.parametrize(
    ("risk", "probabilities", "stance", "degenerate", "read_as"),
    [
        # comply, hedge, refuse, degenerate
        (1.0, (1.0, 0.0, 0.0, 0.0), -1.0, 0.0, "comply"),
        (0.0, (1.0, 0.0, 0.0, 0.0), 1.0, 0.0, "comply"),
        (1.0, (0.0, 0.0, 1.0, 0.0), 1.0, 0.0, "refuse"),
        (0.0, (0.0, 0.0, 1.0, 0.0), -1.0, 0.0, "refuse"),
        (1.0, (0.0, 1.0, 0.0, 0.0), 1.0, 0.0, "hedge"),
        (0.5, (0.1, 0.2, 0.7, 0.0), 0.0, 0.0, "refuse"),
        (1.0, (0.0, 0.0, 0.0, 1.0), 0.0, -1.0, "degenerate"),
        (0.0, (0.0, 0.0, 0.0, 1.0), 0.0, -1.0, "degenerate"),
        # (2 * 0.8 - 1) * (0.3 + 0.4 - 0.2) = 0.6 * 0.5
        (0.8, (0.2, 0.3, 0.4, 0.1), 0.3, -0.1, "refuse"),
        # (2 * 0.1 - 1) * (0.05 + 0.05 - 0.6) = -0.8 * -0.5
        (0.1, (0.6, 0.05, 0.05, 0.3), 0.4, -0.3, "comply"),
    ],
)
def test_score_by_hand(
    risk: float,
    probabilities: tuple[float, ...],
    stance: float,
    degenerate: float,
    read_as: str,
) -> None:
    (feedback,) = user_of(probabilities)([episode(risk)], np.random.default_rng(0))
    assert feedback.score == pytest.approx(stance + degenerate)
    assert dict(feedback.components) == pytest.approx({"stance": stance, "degenerate": degenerate})
    assert feedback.stance == read_as


def test_rounding_never_leaves_the_range() -> None:
    """A softmax in float32 may add up to a hair more than one."""
    rows = [(0.0, 0.5, 0.50000006, 0.0), (0.5000001, 0.0, 0.0, 0.5000001)]
    high, low = user_of(*rows)([episode(1.0), episode(1.0)], np.random.default_rng(0))
    assert (high.score, low.score) == (1.0, -1.0)


def test_a_batch_is_judged_row_by_row_and_nothing_is_drawn() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    user = user_of((1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    feedback = user([episode(0.0), episode(0.0), episode(1.0)], rng)
    assert [each.score for each in feedback] == [1.0, -1.0, -1.0]
    assert rng.bit_generator.state == before


def test_for_llm_uses_the_judge_of_that_model(llm: FrozenLLM) -> None:
    user = RiskAverseUser.for_llm(llm)
    assert isinstance(user.judge, StanceJudge)
    loop = Episode(prompt=Prompt(text="Hi"), reply="no no no no no")
    (feedback,) = user([loop], np.random.default_rng(0))
    assert (feedback.score, feedback.stance) == (-1.0, "degenerate")
