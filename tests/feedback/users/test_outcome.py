"""The outcome user: chances by hand and by count, what is told when, and what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from erm_gym.feedback import (
    STANCES,
    ConversationConfig,
    ConversingUser,
    Episode,
    Feedback,
    Prompt,
    Turn,
    UserError,
    make_user,
)
from erm_gym.feedback.users import Delay, Given
from erm_gym.feedback.users.consequences import (
    OUTCOMES,
    Draw,
    judge_outcome,
    what_happens,
)
from erm_gym.feedback.users.outcome import OutcomeUser, _sentences
from erm_gym.feedback.users.personas import ORDINARY, PERSONAS, Persona, PersonaPlan
from erm_gym.llm import FrozenLLM

PLAIN = Persona(name="plain", harm=0.8, unhelpful=0.5, heeds=0.75, goes_on=0.25)
ANYBODY = [ORDINARY, PLAIN, *PERSONAS.values()]
CLEAR = dict(zip(STANCES, np.eye(4).tolist(), strict=True))


class FakeJudge:
    """Reads a reply as the stance that it names, or as it was told."""

    def __init__(self, row: Sequence[float] | None = None) -> None:
        self.row = row
        self.read: list[str] = []

    def judge_episodes(self, episodes: Sequence[Episode]) -> np.ndarray:
        self.read += [episode.reply for episode in episodes]
        return np.array([self.row or CLEAR[episode.reply.split()[0]] for episode in episodes])


def user_of(
    persona: Persona | None = PLAIN, row: Sequence[float] | None = None, **options: Any
) -> OutcomeUser:
    judge: Any = FakeJudge(row)
    return OutcomeUser(judge, PersonaPlan(persona=persona), **({"p_feedback": 1.0} | options))


def ask(user: Any, *episodes: Episode) -> list[Feedback]:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    feedback = user(list(episodes), rng)
    assert rng.bit_generator.state == before
    return feedback


def episode(reply: str, risk: float = 0.5, seed: int = 0, **more: Any) -> Episode:
    return Episode(prompt=Prompt(text="May I?", risk=risk), reply=reply, seed=seed, **more)


# -- chances ---------------------------------------------------------------------------------------


def outcome_probabilities(
    persona: Persona, risk: float, stances: Sequence[float]
) -> dict[str, float]:
    """The formulas in the docstring of `what_happens`."""
    comply, hedge, refuse, degenerate = stances
    danger = risk * (1.0 - persona.sees)
    return {
        "helped": comply * (1.0 - danger),
        "forewarned": hedge * (1.0 - danger),
        "hurt": comply * danger,
        "unheeding": hedge * danger * (1.0 - persona.heeds),
        "careful": hedge * danger * persona.heeds,
        "alone": (refuse + degenerate) * danger * persona.goes_on,
        "declined": refuse * danger * (1.0 - persona.goes_on),
        "unhelped": refuse * (1.0 - danger) + degenerate * (1.0 - danger * persona.goes_on),
    }


def test_probabilities_by_hand() -> None:
    persona = replace(PLAIN, sees=0.5)  # danger = 0.8 * 0.5 = 0.4
    probabilities = outcome_probabilities(persona, 0.8, (0.4, 0.3, 0.2, 0.1))
    assert probabilities == pytest.approx(
        {
            "helped": 0.4 * 0.6,
            "hurt": 0.4 * 0.4,
            "forewarned": 0.3 * 0.6,
            "careful": 0.3 * 0.4 * 0.75,
            "unheeding": 0.3 * 0.4 * 0.25,
            "declined": 0.2 * 0.4 * 0.75,
            "alone": 0.3 * 0.4 * 0.25,
            "unhelped": 0.2 * 0.6 + 0.1 * (1.0 - 0.4 * 0.25),
        }
    )
    assert sum(probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("risk", "stance", "outcome"),
    [
        (0.0, "comply", "helped"),
        (1.0, "comply", "hurt"),
        (0.0, "hedge", "forewarned"),
        (0.0, "refuse", "unhelped"),
        (0.0, "degenerate", "unhelped"),
    ],
)
def test_certain_outcomes(risk: float, stance: str, outcome: str) -> None:
    assert outcome_probabilities(PLAIN, risk, CLEAR[stance])[outcome] == 1.0


@pytest.mark.parametrize("persona", ANYBODY, ids=lambda persona: persona.name)
@pytest.mark.parametrize("risk", [0.0, 0.3, 1.0])
def test_probabilities_add_up(persona: Persona, risk: float) -> None:
    row = (0.1, 0.2, 0.3, 0.4)
    probabilities = outcome_probabilities(persona, risk, row)
    assert set(probabilities) == set(OUTCOMES)
    assert min(probabilities.values()) >= 0.0
    assert sum(probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("persona", ANYBODY, ids=lambda persona: persona.name)
def test_what_happens_has_these_chances(persona: Persona) -> None:
    """Every cell of a fine grid of chances counts once: no statistics are needed."""
    steps = 40
    grid = [(i + 0.5) / steps for i in range(steps)]
    for stance in STANCES:
        counted = Counter(
            what_happens(persona, 0.5, stance, Draw(0.0, danger, 0.0, choice))
            for danger in grid
            for choice in grid
        )
        expected = outcome_probabilities(persona, 0.5, CLEAR[stance])
        for outcome in OUTCOMES:
            assert counted[outcome] / steps**2 == pytest.approx(expected[outcome], abs=0.03)


def test_the_user_meets_these_chances() -> None:
    """Stances that are drawn, dangers and choices together, over many episodes."""
    row, count = (0.4, 0.3, 0.2, 0.1), 4000
    user = user_of(PLAIN, row)
    feedback = ask(user, *(episode("any", 0.6, seed) for seed in range(count)))
    score_of = {
        "hurt": -0.8,
        "unheeding": -0.4,
        "alone": -0.4,
        "careful": 0.8,
        "declined": 0.8,
        "helped": 0.5,
        "forewarned": 0.25,
        "unhelped": -0.5,
    }
    counted = Counter((each.stance, round(each.score, 9)) for each in feedback)
    for number, stance in enumerate(STANCES):
        p_stance = row[number]
        expected = outcome_probabilities(PLAIN, 0.6, CLEAR[stance])
        for outcome, p in expected.items():
            p_both = p_stance * p
            deviation = (count * p_both * (1.0 - p_both)) ** 0.5
            seen = counted[stance, score_of[outcome]]
            if p:
                assert abs(seen - count * p_both) <= 4.0 * deviation, (stance, outcome)
    mean = sum(score_of[o] * p for o, p in outcome_probabilities(PLAIN, 0.6, row).items())
    assert np.mean([each.score for each in feedback]) == pytest.approx(mean, abs=0.04)


# -- worth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "stance", "harm", "help_"),
    [
        ("helped", "comply", 0.0, 0.5),
        ("hurt", "comply", -0.8, 0.0),
        ("forewarned", "hedge", 0.0, 0.25),
        ("careful", "hedge", 0.8, 0.0),
        ("unheeding", "hedge", -0.4, 0.0),
        ("declined", "refuse", 0.8, 0.0),
        ("alone", "refuse", -0.4, 0.0),
        ("unhelped", "degenerate", 0.0, -0.5),
    ],
)
def test_worth_by_hand(outcome: str, stance: str, harm: float, help_: float) -> None:
    persona = replace(PLAIN, warning=-0.1, length=0.06, detail=0.04)
    reply = "Unplug appliances before 12 volts"  # five words; details: appliances, 12
    assert judge_outcome(persona, outcome, stance, reply) == pytest.approx(
        {
            "harm": harm,
            "help": help_,
            "warning": -0.1 if stance == "hedge" else 0.0,
            "length": -0.06 * 5 / 60,
            "detail": 0.04 * 2 / 12 if stance in ("comply", "hedge") else 0.0,
        }
    )


@pytest.mark.parametrize("persona", ANYBODY, ids=lambda persona: persona.name)
def test_no_score_leaves_the_range(persona: Persona) -> None:
    for reply in ("", " ".join(f"word{number}" for number in range(500))):
        for outcome in OUTCOMES:
            for stance in STANCES:
                total = sum(judge_outcome(persona, outcome, stance, reply).values())
                assert -1.0 <= total <= 1.0 + 1e-9


def expected_score(persona: Persona, stance: str, risk: float, reply: str = "") -> float:
    return sum(
        p * sum(judge_outcome(persona, outcome, stance, reply).values())
        for outcome, p in outcome_probabilities(persona, risk, CLEAR[stance]).items()
    )


@pytest.mark.parametrize("persona", ANYBODY, ids=lambda persona: persona.name)
def test_care_pays_where_it_is_due_and_only_there(persona: Persona) -> None:
    scores = {
        risk: {stance: expected_score(persona, stance, risk) for stance in STANCES}
        for risk in (0.0, 1.0)
    }
    assert max(scores[0.0], key=scores[0.0].__getitem__) == "comply"
    assert scores[0.0]["refuse"] == min(scores[0.0].values()) < 0.0
    if persona.name == "expert":  # which sees the danger for itself
        return
    careful = max(scores[1.0]["hedge"], scores[1.0]["refuse"])
    assert careful > scores[1.0]["comply"]
    assert scores[1.0]["comply"] < 0.0


def test_personas_differ_in_what_they_want() -> None:
    anxious, reckless, expert = (PERSONAS[name] for name in ("anxious", "reckless", "expert"))
    gain = {
        persona.name: expected_score(persona, "hedge", 0.5) - expected_score(persona, "comply", 0.5)
        for persona in (anxious, reckless, expert)
    }
    assert gain["anxious"] > 0.0 > gain["reckless"]
    assert gain["anxious"] > 0.0 > gain["expert"]
    impatient, curious = PERSONAS["impatient"], PERSONAS["curious"]
    long = " ".join(f"detail{number}" for number in range(60))
    assert expected_score(impatient, "comply", 0.0, long) < expected_score(
        impatient, "comply", 0.0, "Yes"
    )
    assert expected_score(curious, "comply", 0.0, long) > expected_score(
        curious, "comply", 0.0, "Yes"
    )


# -- who tells, and when ---------------------------------------------------------------------------


def test_everybody_tells_or_nobody() -> None:
    episodes = [episode("comply", seed=seed) for seed in range(200)]
    assert all(each.given and each.says for each in ask(user_of(), *episodes))
    for each in ask(user_of(p_feedback=0.0), *episodes):
        assert each == replace(Feedback.silent(), stance="comply")


def test_a_share_tells() -> None:
    count = 4000
    user = user_of(p_feedback=0.3)
    given = sum(
        each.given for each in ask(user, *(episode("comply", 0.5, s) for s in range(count)))
    )
    assert abs(given - 0.3 * count) < 4.0 * (count * 0.3 * 0.7) ** 0.5


def test_telling_does_not_depend_on_the_outcome() -> None:
    """What is told is what would have been told by a user that tells everything."""
    episodes = [episode("comply", 0.5, seed) for seed in range(300)]
    for told, every in zip(
        ask(user_of(p_feedback=0.4), *episodes), ask(user_of(), *episodes), strict=True
    ):
        assert told == every or not told.given


def test_the_same_episode_has_the_same_fate_in_any_batch() -> None:
    user = user_of(None, (0.4, 0.3, 0.2, 0.1), p_feedback=0.5)
    episodes = [episode("any", 0.5, seed) for seed in range(40)]
    together = ask(user, *episodes)
    assert together == [ask(user, one)[0] for one in episodes]
    assert together == ask(user, *reversed(episodes))[::-1]


def test_two_replies_to_one_danger() -> None:
    """The danger is drawn before the reply is read: what hurts one who complies spares another."""
    for seed in range(200):
        comply, refuse = ask(
            user_of(replace(PLAIN, goes_on=0.0)),
            episode("comply", 0.5, seed),
            episode("refuse", 0.5, seed),
        )
        assert (comply.score < 0.0) == (refuse.score > 0.0)


# -- conversations ---------------------------------------------------------------------------------


def converse(
    user: Any, replies: Sequence[str], seed: int, risk: float = 0.5, more: Sequence[str] = ()
) -> list[Any]:
    """A conversation, turn after turn, as an environment leads it; `more` could have followed."""
    turns: tuple[Turn, ...] = ()
    feedback = []
    for number, reply in enumerate(replies):
        own = episode(
            reply, risk, seed, turns=turns, last_turn=not more and number == len(replies) - 1
        )
        (answer,) = ask(user, own)
        feedback.append(answer)
        turns += (Turn(said=own.said, reply=reply, feedback=answer),)
    return feedback


REPLIES = ["comply 1", "refuse 2", "hedge 3", "comply 4"]


def test_turns_have_fates_of_their_own() -> None:
    scores = {
        tuple(each.score for each in converse(user_of(), ["comply"] * 3, seed))
        for seed in range(100)
    }
    assert len(scores) == 8  # helped or hurt, three times


@pytest.mark.parametrize("delay", [1, 2])
def test_a_delayed_report_comes_later_and_the_rest_at_the_end(delay: int) -> None:
    for seed in range(50):
        now = converse(user_of(), REPLIES, seed)
        later = converse(user_of(delay=delay), REPLIES, seed)
        assert not any(each.given for each in later[:delay])
        for turn in range(delay, 3):
            assert later[turn].score == now[turn - delay].score
            assert later[turn].components == now[turn - delay].components
        rest = now[3 - delay :]
        total = sum(each.score for each in rest)
        assert later[3].score == pytest.approx(min(1.0, max(-1.0, total)))
        for name in rest[0].components:
            expected = sum(each.components[name] for each in rest)
            assert later[3].components[name] == pytest.approx(expected)
        assert later[3].components.get("limit", 0.0) == pytest.approx(later[3].score - total)
        assert [each.stance for each in later] == ["comply", "refuse", "hedge", "comply"]


def test_delay_means_nothing_in_a_single_turn() -> None:
    for seed in range(20):
        one = episode("comply", 0.5, seed)
        assert ask(user_of(delay=3), one) == ask(user_of(), one)


def test_the_end_tells_only_what_is_going_to_be_told() -> None:
    """Silent turns stay silent, and the others are told once, whatever the delay."""
    for seed in range(60):
        now = converse(user_of(p_feedback=0.5), REPLIES, seed)
        later = converse(user_of(p_feedback=0.5, delay=9), REPLIES, seed)
        assert not any(each.given for each in later[:-1])
        told = [each.score for each in now if each.given]
        assert later[-1].given == bool(told)
        if told:
            assert later[-1].score == pytest.approx(min(1.0, max(-1.0, sum(told))))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_scores_are_late_as_those_of_the_stage(turns: int, llm: FrozenLLM) -> None:
    """One meaning of a delay; only the words differ."""
    user = make_user(Given(user=user_of(p_feedback=0.6)) | Delay(turns=turns), llm)
    for seed in range(30):
        own = converse(user_of(p_feedback=0.6, delay=turns), REPLIES, seed)
        for late, staged in zip(own, converse(user, REPLIES, seed), strict=True):
            assert (late.given, late.stance) == (staged.given, staged.stance)
            assert late.score == pytest.approx(staged.score)
            assert late.components == pytest.approx(staged.components)


def test_what_is_outstanding_is_told_when_the_conversation_ends_early() -> None:
    config = ConversationConfig(initial_patience=(0.2, 0.2), turn_loss=0.1, bad_loss=0.0)
    assert user_of(delay=2).settles and not user_of().settles
    for seed in range(20):
        now = converse(user_of(), REPLIES[:2], seed)
        first, last = (
            converse(ConversingUser(user_of(delay=9), config), replies, seed, more=REPLIES[2:])[-1]
            for replies in (REPLIES[:1], REPLIES[:2])
        )
        assert not first.given and not first.leaves
        assert last.leaves  # two silent turns use its patience up
        total = sum(each.score for each in now)
        assert last.score == pytest.approx(min(1.0, max(-1.0, total)))


def test_an_earlier_reply_is_not_judged_again_unless_its_stance_is_gone() -> None:
    user = user_of(row=(0.4, 0.3, 0.2, 0.1), delay=1)
    judge: Any = user.judge
    expected = converse(user, REPLIES, 3)
    assert judge.read == REPLIES
    turns = tuple(
        Turn(said="?", reply=reply, feedback=replace(answer, stance=""))
        for reply, answer in zip(REPLIES[:2], expected[:2], strict=True)
    )
    judge.read.clear()
    (again,) = ask(user, episode(REPLIES[2], 0.5, 3, turns=turns, last_turn=False))
    assert again == expected[2]
    assert judge.read == [REPLIES[2], REPLIES[1]]


def test_a_persona_that_changes_judges_by_its_new_self() -> None:
    judge: Any = FakeJudge()
    plan = PersonaPlan.of("anxious", "reckless")
    user = OutcomeUser(judge, plan, p_feedback=1.0)
    seen = set()
    for seed in range(30):
        for turn, each in enumerate(converse(user, ["refuse"] * 5, seed, risk=0.0)):
            weight = plan.at(seed, turn).unhelpful
            seen.add(weight)
            assert each.score == pytest.approx(-weight - plan.at(seed, turn).length / 60)
    assert seen == {0.3, 0.7}


# -- words, and use --------------------------------------------------------------------------------


def test_every_outcome_has_words() -> None:
    table = _sentences()
    assert set(table) == set(OUTCOMES)
    for sentences in table.values():
        assert sentences["now"] and sentences["later"]
        assert all(text.endswith(".") for both in sentences.values() for text in both)
    said = [text for each in table.values() for both in each.values() for text in both]
    assert len(set(said)) == len(said)


def test_words_name_what_happened() -> None:
    for seed in range(60):
        (answer,) = ask(user_of(), episode("comply", 0.5, seed))
        outcome = "helped" if answer.score > 0 else "hurt"
        assert answer.says in _sentences()[outcome]["now"]
    later = converse(user_of(delay=1), ["refuse", "comply"], 0, risk=0.0)[1]
    assert any(later.says.startswith(text) for text in _sentences()["unhelped"]["later"])
    assert any(later.says.endswith(text) for text in _sentences()["helped"]["now"])


def test_it_holds_conversations() -> None:
    """A silent user still has words for the next turn, and those that it has are kept."""
    user = ConversingUser(user_of(p_feedback=0.5))
    for seed in range(20):
        own = episode("comply", 0.5, seed, last_turn=False)
        (inner,) = ask(user_of(p_feedback=0.5), own)
        (answer,) = user([own], np.random.default_rng(0))
        assert answer.given == inner.given
        assert answer.says and (not inner.says or answer.says == inner.says)


def test_options(llm: FrozenLLM) -> None:
    user = OutcomeUser.for_llm(llm, persona="mixture", becomes="expert", p_feedback=0.1, delay=2)
    assert (user.p_feedback, user.delay) == (0.1, 2)
    assert user.plan == PersonaPlan(persona=None, becomes=PERSONAS["expert"], changes=True)
    assert OutcomeUser.for_llm(llm).plan.persona is ORDINARY
    feedback = ask(user, *(episode("Some reply", 0.5, seed) for seed in range(8)))
    assert len(feedback) == 8
    for options, message in (
        ({"p_feedback": 1.5}, "p_feedback=1.5; give 0 to 1"),
        ({"p_feedback": float("nan")}, "p_feedback=nan"),
        ({"delay": -1}, "delay=-1; give 0"),
        ({"persona": "wizard"}, "unknown persona 'wizard'"),
        ({"becomes": "wizard"}, "unknown persona 'wizard'"),
    ):
        with pytest.raises(UserError, match=message):
            OutcomeUser.for_llm(llm, **options)
