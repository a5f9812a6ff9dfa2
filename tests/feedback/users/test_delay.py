"""Feedback that comes turns later: by hand over conversations, with and without words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from erm_gym.feedback import (
    ConversationConfig,
    ConversingUser,
    Episode,
    Feedback,
    Prompt,
    Turn,
    UserError,
    make_user,
)
from erm_gym.feedback.users import Delay, Given, Noise, Sparse, parse
from erm_gym.llm import FrozenLLM

HI = Prompt(text="Hi")


class Scripted:
    """Answers with the number that a reply is; `x` gets no feedback, `bye 0.3` ends it all."""

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [self.answer(episode.reply) for episode in episodes]

    def answer(self, reply: str) -> Feedback:
        if reply == "x":
            return Feedback.silent(says="Hm")
        score = float(reply.rsplit(maxsplit=1)[-1])
        return Feedback(
            score=score,
            components={"tone": score},
            stance="comply",
            says=f"Heard {score}",
            leaves=reply.startswith("bye"),
        )


def converse(user: object, llm: FrozenLLM, replies: Sequence[str], seed: int = 0) -> list[Feedback]:
    """The feedback of every turn, each of which sees those before."""
    made = make_user(user, llm)  # type: ignore[arg-type]
    answers: list[Feedback] = []
    turns: tuple[Turn, ...] = ()
    for number, reply in enumerate(replies, 1):
        episode = Episode(
            prompt=HI, reply=reply, seed=seed, turns=turns, last_turn=number == len(replies)
        )
        answers += made([episode], np.random.default_rng(0))
        if answers[-1].leaves:
            break
        turns = (*turns, Turn(said=episode.said, reply=reply, feedback=answers[-1]))
    return answers


def told(answers: Sequence[Feedback]) -> list[float | None]:
    return [round(answer.score, 9) if answer.given else None for answer in answers]


@pytest.mark.parametrize(
    ("turns", "replies", "expected"),
    [
        (1, ["0.1", "0.2", "0.4", "-0.3"], [None, 0.1, 0.2, 0.1]),  # the last: 0.4 - 0.3
        (2, ["0.1", "0.2", "0.4", "-0.3"], [None, None, 0.1, 0.3]),  # 0.2 + 0.4 - 0.3
        (9, ["0.1", "0.2", "0.4"], [None, None, 0.7]),
        (1, ["0.5"], [0.5]),
        (1, ["0.9", "0.8"], [None, 1.0]),  # 1.7 is cut
        (1, ["x", "0.2", "x"], [None, None, 0.2]),
        (1, ["x", "x"], [None, None]),
        (2, ["0.1", "0.2", "bye 0.3", "0.9"], [None, None, 0.6]),
    ],
)
def test_by_hand(
    llm: FrozenLLM, turns: int, replies: list[str], expected: list[float | None]
) -> None:
    answers = converse(Given(user=Scripted()) | Delay(turns=turns), llm, replies)
    assert told(answers) == expected
    for answer in answers:
        assert sum(answer.components.values()) == pytest.approx(answer.score)


def test_words_are_not_late_and_the_cut_is_itemised(llm: FrozenLLM) -> None:
    first, last = converse(Given(user=Scripted()) | Delay(turns=1), llm, ["0.9", "0.8"])
    assert (first.says, first.stance, first.given) == ("Heard 0.9", "comply", False)
    assert last.components == pytest.approx({"tone": 1.7, "limit": -0.7})


def test_what_was_drawn_then_is_drawn_again_now(llm: FrozenLLM) -> None:
    """The delayed scores of a noisy and sparse user are those that it gave at once."""
    disturbed = Given(user=Scripted()) | Noise(scale=0.05) | Sparse(p=0.5)
    replies = ["0.1", "0.2", "0.3", "0.1", "0.2", "0.1"]
    for seed in range(8):
        at_once = told(converse(disturbed, llm, replies, seed))
        late = told(converse(disturbed | Delay(turns=1), llm, replies, seed))
        assert late[0] is None and late[1:-1] == at_once[:-2]


def test_a_patient_user_settles_when_it_leaves(llm: FrozenLLM) -> None:
    """Words and patience follow what arrives; what is outstanding when it leaves is settled."""
    config = ConversationConfig(initial_patience=(1.0, 1.0), good_replies_needed=1)
    inner = make_user(Given(user=Scripted()) | Delay(turns=1), llm)
    answers = converse(ConversingUser(inner, config), llm, ["0.5", "0.4", "0.9"])
    # Turn 1: nothing arrives. Turn 2: 0.5 arrives and contents it, so 0.4 is settled as well.
    assert told(answers) == [None, 0.9]
    assert answers[-1].leaves
    # The mean of the feedback given is 0.9, the outcome 1.
    assert answers[-1].verdict == pytest.approx(0.5 * 0.9 + 0.5 * 1.0)


def test_it_must_be_late_by_whole_turns() -> None:
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(UserError, match="turns must be a whole number from 1"):
            Delay(turns=wrong)  # type: ignore[arg-type]
    assert parse("risk-averse | delay(2)") == parse("risk-averse | delay(turns=2)")
