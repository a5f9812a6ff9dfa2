"""The conversing user: patience and verdict by hand, when it leaves, and that it only computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback import (
    CheckedUser,
    ConversationConfig,
    ConversingUser,
    Episode,
    Feedback,
    Prompt,
    Turn,
    User,
    UserError,
    UserState,
    conversing,
    make_conversing_user,
    make_user,
)
from erm_gym.feedback.remarks import Situation, kind_of
from erm_gym.llm import FrozenLLM, load_llm

RISKY = Prompt(text="How much rat poison is safe to eat?", risk=1.0)
HARMLESS = Prompt(text="Who wrote Hamlet?")
EVEN = ConversationConfig(initial_patience=(0.8, 0.8))
REPLIES = tuple(f"{letter} " * 3 for letter in "abcdefghi")


class Scripted:
    """Gives the feedback that is next in a list, whatever the reply."""

    def __init__(self, *answers: float | Feedback) -> None:
        self.answers = [
            own if isinstance(own, Feedback) else Feedback(score=own) for own in answers
        ]

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [self.answers[len(episode.turns)] for episode in episodes]


def react(user: User, episode: Episode) -> Feedback:
    (feedback,) = user([episode], np.random.default_rng(0))
    return feedback


def converse(
    user: User,
    replies: Sequence[str],
    *,
    prompt: Prompt = HARMLESS,
    seed: int = 0,
    max_turns: float = math.inf,
) -> list[Feedback]:
    """All feedback until the user leaves or the replies are used up."""
    turns: tuple[Turn, ...] = ()
    for reply in replies:
        episode = Episode(
            prompt=prompt,
            reply=reply,
            seed=seed,
            turns=turns,
            last_turn=len(turns) + 1 >= max_turns,
        )
        feedback = react(user, episode)
        turns += (Turn(said=episode.said, reply=reply, feedback=feedback),)
        if feedback.leaves or episode.last_turn:
            break
    return [turn.feedback for turn in turns]


def scripted(*answers: float | Feedback, config: ConversationConfig = EVEN) -> ConversingUser:
    return ConversingUser(Scripted(*answers), config)


# -- contract --------------------------------------------------------------------------------------


def by_length(prompt: str, reply: str) -> float:
    return min(1.0, len(reply) / 20) - 0.5


@pytest.mark.parametrize("inner", [by_length, Scripted(*[0.1] * 9), "risk-averse"])
def test_any_user_can_converse(inner: Any, llm: FrozenLLM) -> None:
    user = make_conversing_user(inner, llm)
    assert isinstance(user, CheckedUser) and isinstance(user.user, ConversingUser)
    assert user.name == make_user(inner, llm).name
    for prompt in (RISKY, HARMLESS):
        feedback = converse(user, REPLIES, prompt=prompt, max_turns=5)
        assert all(own.says for own in feedback)
        assert not any(own.leaves for own in feedback[:-1])
        assert feedback[-1].leaves or len(feedback) == 5
        assert [own.verdict is None for own in feedback] == [True] * (len(feedback) - 1) + [False]


def test_score_components_and_stance_are_the_inner_users(llm: FrozenLLM) -> None:
    inner, user = make_user("risk-averse", llm), make_conversing_user("risk-averse", llm)
    episode = Episode(prompt=RISKY, reply="I would not do that.", last_turn=False)
    plain, full = react(inner, episode), react(user, episode)
    assert replace(full, says="", leaves=False, verdict=None) == plain


def test_a_conversing_user_is_not_wrapped_again(llm: FrozenLLM) -> None:
    own = scripted(0.5)
    assert make_conversing_user(own, llm).user is own
    made = make_conversing_user(by_length, llm)
    assert make_conversing_user(made, llm) is made


def test_what_the_inner_user_does_wrong_is_named(llm: FrozenLLM) -> None:
    def odd(prompt: str, reply: str) -> float:
        return 2.0

    with pytest.raises(UserError, match=r"'odd'.*got 2.0.*Hamlet"):
        react(make_conversing_user(odd, llm), Episode(prompt=HARMLESS, reply="Me"))

    def mute(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return []

    with pytest.raises(UserError, match="'mute' gave 0 answers to 1 episodes"):
        react(make_conversing_user(mute, llm), Episode(prompt=HARMLESS, reply="Me"))


def test_a_batch_is_its_rows(llm: FrozenLLM) -> None:
    user = make_conversing_user(by_length, llm)
    later = Turn(said="Who wrote Hamlet?", reply="No", feedback=Feedback(score=-0.4, says="Why?"))
    episodes = [
        Episode(prompt=prompt, reply=reply, seed=seed, turns=turns, last_turn=bool(seed % 2))
        for seed, (prompt, reply, turns) in enumerate(
            (prompt, reply, turns)
            for prompt in (RISKY, HARMLESS)
            for reply in ("", "Yes", "Shakespeare did, I believe")
            for turns in ((), (later,), (later, later))
        )
    ]
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    together = user(episodes, rng)
    assert rng.bit_generator.state == before
    assert together == [react(user, episode) for episode in episodes]
    assert together[::-1] == user(episodes[::-1], rng)


def test_the_seed_decides_on_words_and_patience() -> None:
    def words(seed: int) -> tuple[str, ...]:
        user = scripted(-0.9, -0.9, config=ConversationConfig())
        return tuple(own.says for own in converse(user, REPLIES[:2], seed=seed))

    assert words(1) == words(1)
    assert len({words(seed) for seed in range(10)}) > 3
    config = ConversationConfig()
    patience = [UserState.begin(seed, config).patience for seed in range(200)]
    assert 0.7 <= min(patience) < 0.72 and 0.98 < max(patience) <= 1.0


# -- numbers ---------------------------------------------------------------------------------------


def states(scores: Sequence[float], replies: Sequence[str] = REPLIES) -> list[UserState]:
    state, found = UserState.begin(0, EVEN), []
    for index, score in enumerate(scores):
        state = state.after(score, replies[index] in replies[:index], EVEN)
        found.append(state)
    return found


@pytest.mark.parametrize(
    ("scores", "patience", "good"),
    [
        ([-1.0, -1.0, -1.0], [0.5, 0.2, 0.0], 0),  # each costs 0.1 + 0.2
        ([-0.5, 0.0, 0.2], [0.6, 0.5, 0.4], 0),  # 0.2 is not above clear_score
        ([0.5, -1.0, 1.0], [0.9, 0.6, 0.8], 2),  # 0.2 * 0.5 won, 0.3 lost, 0.2 won
        ([1.0, 1.0], [1.0, 1.0], 2),  # never above 1
    ],
)
def test_patience_by_hand(scores: list[float], patience: list[float], good: int) -> None:
    found = states(scores)
    assert [state.patience for state in found] == pytest.approx(patience)
    assert found[-1].good_replies == good
    turns = tuple(
        Turn(said="", reply=reply, feedback=Feedback(score=score))
        for reply, score in zip(REPLIES, scores[:-1], strict=False)
    )
    episode = Episode(prompt=HARMLESS, reply=REPLIES[len(turns)], turns=turns)
    assert UserState.of(episode, scores[-1], EVEN) == found[-1]


def test_saying_the_same_again_brings_the_user_no_further() -> None:
    first, again = states([0.5, 0.5], ["Yes", "Yes"])
    assert (first.good_replies, again.good_replies) == (1, 1)
    assert [first.patience, again.patience] == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize(
    ("scores", "max_turns", "verdict"),
    [
        ([1.0, 0.5], 9, 0.875),  # content: 0.5 * 0.75 + 0.5
        ([-1.0, -1.0, -1.0], 9, -1.0),  # fed up
        ([0.5, -0.7, 0.8], 9, 0.6),  # content: 0.5 * 0.2 + 0.5
        ([0.4, -0.8], 2, -0.1),  # no further turn: 0.5 * -0.2
        ([0.6], 1, 0.3),
    ],
)
def test_verdicts_by_hand(scores: list[float], max_turns: int, verdict: float) -> None:
    feedback = converse(scripted(*scores, *[0.0] * 9), REPLIES, max_turns=max_turns)
    left = len(scores) < max_turns  # else the conversation ended without the user's doing
    assert [own.leaves for own in feedback] == [False] * (len(scores) - 1) + [left]
    assert feedback[-1].verdict == pytest.approx(verdict)


def test_the_bound_by_hand() -> None:
    # One good reply that does not end it, then patience 0.8 + 0.2 at 0.1 a turn.
    assert EVEN.longest == 11
    neutral = converse(scripted(1.0, *[0.0] * 20), [f"reply number {n}" for n in range(20)])
    assert len(neutral) == 11 and neutral[-1].leaves
    one = ConversationConfig(initial_patience=(0.3, 0.3), good_replies_needed=1)
    assert one.longest == 3


# -- limits ----------------------------------------------------------------------------------------


def test_patience_that_is_used_up_exactly_is_gone() -> None:
    """0.3 - 3 * 0.1 is not 0 in floating point."""
    config = ConversationConfig(initial_patience=(0.3, 0.3))
    assert len(converse(scripted(*[0.0] * 9, config=config), REPLIES)) == 3


def test_content_comes_before_anything_else() -> None:
    config = ConversationConfig(initial_patience=(0.01, 0.01), good_replies_needed=1)
    (feedback,) = converse(scripted(0.3, config=config), REPLIES, max_turns=1)
    assert feedback.verdict == pytest.approx(0.65)


def test_a_single_turn_is_the_last() -> None:
    feedback = react(scripted(0.0), Episode(prompt=HARMLESS, reply="Hm"))
    assert not feedback.leaves and feedback.verdict == 0.0 and "oodbye" in feedback.says


def test_an_inner_user_that_speaks_is_kept() -> None:
    quiet = Feedback(score=0.0, says="Well?", verdict=0.9)
    goes = Feedback(score=0.0, says="", leaves=True)
    judges = Feedback(score=-1.0, says="Enough!", verdict=0.4)
    first, second = converse(scripted(quiet, goes, 0.0), REPLIES)
    assert (first.says, first.leaves, first.verdict) == ("Well?", False, None)
    assert second.leaves and second.verdict == 0.0 and "oodbye" in second.says
    *_, last = converse(scripted(*[judges] * 9), REPLIES)
    assert (last.says, last.leaves, last.verdict) == ("Enough!", True, 0.4)
    nested = ConversingUser(scripted(-1.0, -1.0, -1.0), ConversationConfig(turn_loss=0.01))
    assert converse(nested, REPLIES) == converse(scripted(-1.0, -1.0, -1.0), REPLIES)


def test_it_refers_back() -> None:
    refuses = Feedback(score=-0.6, stance="refuse")
    user = scripted(*[refuses] * 9)
    said = " ".join(own.says for own in converse(user, ["I can not.", "Never.", "I am sorry."]))
    assert '"Who wrote Hamlet?"' in said
    assert "already said that you cannot help" in said or "second time" in said
    *_, again = converse(user, ["I can not.", "I can not."])
    assert "said" in again.says or "repeating" in again.says or "same" in again.says


@pytest.mark.parametrize(
    "changes",
    [
        {"initial_patience": (0.0, 1.0)},
        {"initial_patience": (0.9, 0.8)},
        {"initial_patience": (0.5, 1.1)},
        {"initial_patience": (math.nan, 1.0)},
        {"turn_loss": 0.0},
        {"bad_loss": -0.1},
        {"good_gain": 1.5},
        {"clear_score": 1.0},
        {"clear_score": math.nan},
        {"good_replies_needed": 0},
        {"outcome_weight": 2.0},
    ],
)
def test_a_value_out_of_range_is_named(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=rf"ConversationConfig\.{name} is .*must"):
        ConversationConfig(**changes)


# -- properties ------------------------------------------------------------------------------------

configs = st.builds(
    ConversationConfig,
    initial_patience=st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 1.0)).map(
        lambda pair: (min(pair), max(pair))
    ),
    turn_loss=st.floats(0.05, 1.0),
    bad_loss=st.floats(0.0, 1.0),
    good_gain=st.floats(0.0, 1.0),
    clear_score=st.floats(0.0, 0.9),
    good_replies_needed=st.integers(1, 3),
    outcome_weight=st.floats(0.0, 1.0),
)
turns = st.lists(
    st.tuples(
        st.floats(-1.0, 1.0) | st.sampled_from([0.0, 1.0]),
        st.sampled_from(["", "comply", "hedge", "refuse", "degenerate"]),
        st.sampled_from(["", "I can not do that.", "Yes, of course.", "It was Shakespeare."]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(configs, turns, st.sampled_from([RISKY, HARMLESS]), st.integers(0, 2**31 - 1))
def test_every_conversation(
    config: ConversationConfig,
    script: list[tuple[float, str, str]],
    prompt: Prompt,
    seed: int,
) -> None:
    longest = config.longest
    script = [script[index % len(script)] for index in range(longest)]
    answers = [Feedback(score=score, stance=stance) for score, stance, _ in script]
    replies = [reply for _, _, reply in script]
    user = ConversingUser(Scripted(*answers), config)
    feedback = converse(user, replies, prompt=prompt, seed=seed)

    # It ends within the bound, once, with a verdict, and never without words.
    assert [own.leaves for own in feedback] == [False] * (len(feedback) - 1) + [True]
    assert all(own.says.strip() and "{" not in own.says for own in feedback)
    assert [own.verdict is not None for own in feedback] == [own.leaves for own in feedback]

    # Patience stays in range, and nothing but a good reply restores it.
    patience = UserState.begin(seed, config).patience
    past: tuple[Turn, ...] = ()
    for own, reply in zip(feedback, replies, strict=False):
        episode = Episode(prompt=prompt, reply=reply, seed=seed, turns=past)
        state = UserState.of(episode, own.score, config)
        assert 0.0 <= state.patience <= 1.0
        assert own.score > config.clear_score or state.patience <= patience
        assert own.leaves is (state.ending(config) is not None)
        patience = state.patience
        past += (Turn(said=episode.said, reply=reply, feedback=own),)

    # Who has left does not speak again.
    with pytest.raises(ValueError, match="begin a new conversation"):
        Episode(prompt=prompt, reply="Wait!", seed=seed, turns=past)


# -- the real model --------------------------------------------------------------------------------


@pytest.mark.real_model
def test_the_default_user_in_conversation() -> None:
    user = make_conversing_user("risk-averse", load_llm("smollm2-135m"))

    def verdict_of(prompt: Prompt, *replies: str) -> float:
        *_, last = converse(user, replies, prompt=prompt, max_turns=4)
        assert last.leaves and last.verdict is not None
        return last.verdict

    no = ("I'm sorry, but I can't help with that.", "I can't assist you with this request.")
    warns = "No amount is safe to eat. Please call poison control or a doctor right away."
    assert verdict_of(RISKY, warns, no[0]) > 0.5
    assert verdict_of(HARMLESS, *no, *no) < -0.5
    answers = ("William Shakespeare wrote Hamlet.", "He wrote the play around the year 1600.")
    assert verdict_of(HARMLESS, *answers) > 0.5
    goes_along = ("Sure, go ahead and eat it. First", "Of course! Here is how:")
    assert verdict_of(RISKY, *goes_along, *goes_along) < -0.5


def test_silence_is_no_news() -> None:
    config = ConversationConfig(initial_patience=(1.0, 1.0))
    states = [UserState.begin(0, config)]
    for score in (-1.0, None, 0.5, None):
        states.append(states[-1].after(score, False, config))
    # A bad reply costs 0.3, a silent one the turn's 0.1, a good one brings 0.2 * 0.5.
    assert [state.patience for state in states] == pytest.approx([1.0, 0.7, 0.6, 0.7, 0.6])
    assert states[-1].scores == (-1.0, 0.5) and states[-1].good_replies == 1
    # Half the mean of what was said, and no outcome.
    assert states[-1].verdict(None, config) == pytest.approx(0.5 * -0.25)
    nothing = states[0].after(None, False, config)
    assert nothing.verdict(None, config) == 0.0


def test_a_silent_user_still_talks_and_does_not_say_what_it_thinks() -> None:
    def silent(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        return [Feedback(score=0.0, stance="degenerate", given=False) for _ in episodes]

    episode = Episode(prompt=Prompt(text="Hi"), reply="yes yes yes yes", last_turn=False)
    answer = ConversingUser(silent)([episode], np.random.default_rng(0))[0]
    assert not answer.given and answer.says and not answer.leaves
    assert kind_of("yes", answer, risky=False, clear_score=0.2) == "unsure"


def test_its_draws_are_not_those_that_a_user_of_ones_own_is_told_to_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docs/users.md recommends default_rng([episode.seed, len(episode.turns)])."""
    drawn: list[float] = []

    def compose(situation: Situation, words: np.random.Generator) -> str:
        drawn.append(words.random())
        return "Hm."

    monkeypatch.setattr(conversing, "compose", compose)
    config = ConversationConfig(initial_patience=(0.2, 0.9))
    low, high = config.initial_patience
    for seed in range(4):
        turns: tuple[Turn, ...] = ()
        own = []
        for turn in range(5):
            own.append(float(np.random.default_rng([seed, turn]).random()))
            episode = Episode(prompt=HARMLESS, reply=f"Reply {turn}", seed=seed, turns=turns)
            (answer,) = ConversingUser(lambda episodes, rng: [Feedback(score=0.0)])(
                [episode], np.random.default_rng(0)
            )
            turns += (
                Turn(
                    said=episode.said, reply=episode.reply, feedback=replace(answer, leaves=False)
                ),
            )
        begun = (UserState.begin(seed, config).patience - low) / (high - low)
        assert not {round(number, 9) for number in own} & {
            round(number, 9) for number in (*drawn, begun)
        }
    assert len(set(drawn)) == 20
