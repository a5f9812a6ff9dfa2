"""The outcome user: it acts on the reply, and tells what came of it, if it tells anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.judge import STANCES, StanceJudge
from erm_gym.feedback.users.consequences import Draw, judge_outcome, what_happens
from erm_gym.feedback.users.delay import added_up, reply_at, turns_due
from erm_gym.feedback.users.personas import ORDINARY, PersonaPlan
from erm_gym.llm import FrozenLLM

WORDS_STREAM = 4_129
"""Tells the choice of words from all other draws of an episode's seed."""


class OutcomeUser:
    """Acts on the reply and reports, if anything, the good or harm that came of it.

    Of each reply four numbers are drawn from the seed of the episode and the number of the turn:
    whether the user is going to tell, whether the matter is dangerous, how the user reads the reply
    (a stance, by the judge's probabilities), and whether it takes care or goes ahead. From these
    follows one of `consequences.OUTCOMES`, with the chances that `what_happens` tells; what it is
    worth is `judge_outcome`. The danger does not depend on the reply, so two replies in the same
    turn of the same episode meet the same fate.

    Most users never tell: with probability 1 - `p_feedback` nothing is heard of a reply
    (`Feedback.silent`). With `delay` = n, what is to be told of a reply is told n turns later, in
    words, too; when the conversation ends everything outstanding is told. Several reports at once
    are added up as the stage `Delay` does it. That stage delays the score alone, while the words
    are those on the present reply.

    The persona is one of those in `personas`: `ordinary`, `anxious`, `reckless`, `impatient`,
    `curious`, `expert`, or `mixture`, which draws one for each episode. With `becomes` it turns
    into another with the second, third or fourth turn, drawn evenly. How careful a user wants an
    answer to be is its persona's `harm` against `unhelpful`: for a risk-averse user with a
    character use this one with `p_feedback=1`.

    Nothing is remembered here: an earlier reply is rebuilt from the episode's turns, and how it was
    read from the stance in their feedback; where another user took that away, it is judged again.

    Attributes:
        judge: Who reads the stance.
        plan: Who the user is in each turn.
        p_feedback: Probability that it tells what came of a reply.
        delay: Turns after which it tells.

    Source: our own.
    """

    draws = True
    """Its answers are drawn from the seed of the episode."""

    def __init__(
        self,
        judge: StanceJudge,
        plan: PersonaPlan,
        *,
        p_feedback: float = 0.3,
        delay: int = 0,
    ) -> None:
        if not 0.0 <= p_feedback <= 1.0:
            raise UserError(f"the user 'outcome' has p_feedback={p_feedback}; give 0 to 1")
        if delay < 0:
            raise UserError(f"the user 'outcome' has delay={delay}; give 0 turns or more")
        self.judge = judge
        self.plan = plan
        self.p_feedback = p_feedback
        self.delay = delay

    @property
    def settles(self) -> bool:
        """Whether it keeps feedback back until the last turn of a conversation."""
        return self.delay > 0

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """Options that do nothing where an episode is a single reply."""
        options = {"delay": self.delay > 0, "becomes": self.plan.changes}
        return tuple(f"{name} of outcome" for name, does in options.items() if does)

    @classmethod
    def for_llm(
        cls,
        llm: FrozenLLM,
        *,
        persona: str = ORDINARY.name,
        becomes: str = "",
        p_feedback: float = 0.3,
        delay: int = 0,
    ) -> OutcomeUser:
        """The user with the judge that belongs to a frozen LM.

        Args:
            llm: The frozen LM.
            persona: Who it is; see `personas.persona_names`.
            becomes: Who it turns into in mid-conversation; empty for nobody.
            p_feedback: Probability in [0, 1] that it tells what came of a reply.
            delay: Turns after which it tells, at least 0.

        Raises:
            UserError: If there is no such persona, or an option is out of range.
        """
        plan = PersonaPlan.of(persona, becomes)
        return cls(StanceJudge.for_llm(llm), plan, p_feedback=p_feedback, delay=delay)

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Acts on the replies; draws nothing from `rng`."""
        stances = self._stances([(episode, "") for episode in episodes])
        told = [self._told(episode) for episode in episodes]
        earlier = [
            [
                (reply_at(episode, turn), episode.turns[turn].feedback.stance)
                for turn in turns
                if turn < len(episode.turns)
            ]
            for episode, turns in zip(episodes, told, strict=True)
        ]
        read = iter(self._stances([reply for replies in earlier for reply in replies]))
        feedback = []
        for episode, stance, turns, replies in zip(episodes, stances, told, earlier, strict=True):
            reports = [self._report(past, next(read), later=True) for past, _ in replies]
            if len(episode.turns) in turns:
                reports.append(self._report(episode, stance, later=False))
            feedback.append(replace(_join(reports), stance=stance))
        return feedback

    def _stances(self, replies: Sequence[tuple[Episode, str]]) -> list[str]:
        """How each reply is read: as is known of it, else as its judge and its seed say."""
        unread = [episode for episode, known in replies if known not in STANCES]
        rows = iter(self.judge.judge_episodes(unread) if unread else ())
        return [
            known if known in STANCES else _read_as(episode, next(rows))
            for episode, known in replies
        ]

    def _told(self, episode: Episode) -> list[int]:
        """Numbers of the turns of which the user tells now."""
        return [
            turn
            for turn in turns_due(episode, self.delay, ends=episode.last_turn)
            if Draw.of(episode.seed, turn).tells < self.p_feedback
        ]

    def _report(self, episode: Episode, stance: str, *, later: bool) -> Feedback:
        turn = len(episode.turns)
        persona = self.plan.at(episode.seed, turn)
        outcome = what_happens(persona, episode.prompt.risk, stance, Draw.of(episode.seed, turn))
        components = judge_outcome(persona, outcome, stance, episode.reply)
        sentences = _sentences()[outcome]["later" if later else "now"]
        words = np.random.default_rng([episode.seed, WORDS_STREAM, turn])
        return Feedback(
            score=float(np.clip(sum(components.values()), -1.0, 1.0)),
            components=components,
            says=sentences[int(words.integers(len(sentences)))],
        )


def _read_as(episode: Episode, probabilities: np.ndarray) -> str:
    """The stance that a user reads: drawn, so that a doubtful reply is read in both ways."""
    drawn = Draw.of(episode.seed, len(episode.turns)).stance
    passed = int((np.cumsum(probabilities) <= drawn).sum())
    return STANCES[min(passed, len(STANCES) - 1)]


def _join(reports: Sequence[Feedback]) -> Feedback:
    """Several reports as one: scores added up, and all that is said."""
    if not reports:
        return Feedback.silent()
    score, components = added_up(reports)
    says = " ".join(dict.fromkeys(each.says for each in reports))
    return Feedback(score=score, components=components, says=says)


@cache
def _sentences() -> Any:
    return json.loads(
        (files("erm_gym.feedback") / "data" / "outcomes.json").read_text(encoding="utf-8")
    )
