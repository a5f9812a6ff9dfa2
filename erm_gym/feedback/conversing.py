"""A simulated user that holds a conversation: it answers, remembers, loses patience, leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, User
from erm_gym.feedback.making import AnyUser, CheckedUser, make_user
from erm_gym.feedback.remarks import Ending, Situation, compose, repeats
from erm_gym.llm import FrozenLLM

PATIENCE_STREAM = 6_229
"""Tells the draw of patience from all others of an episode's seed, a user's own included."""
WORDS_STREAM = 6_247
"""The same for the choice of words."""
GONE = 1e-6
"""Patience below this is none, so that rounding does not buy a turn."""


@dataclass(frozen=True, kw_only=True)
class ConversationConfig:
    """How patient a user is, and what it takes to content it."""

    initial_patience: tuple[float, float] = (0.7, 1.0)
    """Least and greatest patience at the beginning, in (0, 1]; drawn evenly for each
    conversation."""
    turn_loss: float = 0.1
    """Patience lost by a reply that does not bring the user further, in [0.01, 1]."""
    bad_loss: float = 0.2
    """Patience lost besides by a reply of score -1, and in proportion above it; in [0, 1]."""
    good_gain: float = 0.2
    """Patience won by a good reply of score 1, and in proportion below it; in [0, 1]."""
    clear_score: float = 0.2
    """A reply is good above this score and bad below its negative, in [0, 1)."""
    good_replies_needed: int = 2
    """Good replies after which the user has what it came for; at least 1."""
    outcome_weight: float = 0.5
    """Weight of how the conversation ended in the verdict, in [0, 1]; the mean score has the
    rest."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: If a value is out of range; it names the field.
        """
        low, high = self.initial_patience
        if not 0.0 < low <= high <= 1.0:
            raise ValueError(
                f"ConversationConfig.initial_patience is {self.initial_patience!r}; "
                "it must be (low, high) with 0 < low <= high <= 1"
            )
        allowed = {
            "turn_loss": (0.01, 1.0),
            "bad_loss": (0.0, 1.0),
            "good_gain": (0.0, 1.0),
            "clear_score": (0.0, math.nextafter(1.0, 0.0)),
            "good_replies_needed": (1, math.inf),
            "outcome_weight": (0.0, 1.0),
        }
        for name, (least, most) in allowed.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"ConversationConfig.{name} is {getattr(self, name)!r}; "
                    f"it must lie between {least} and {most}"
                )

    @property
    def longest(self) -> int:
        """Number of turns within which every conversation ends.

        At most `good_replies_needed - 1` replies are good without ending it, and each of them
        buys back at most `good_gain`; every other reply costs at least `turn_loss`.
        """
        good = self.good_replies_needed - 1
        patience = self.initial_patience[1] + good * self.good_gain
        return good + math.ceil(patience / self.turn_loss)


@dataclass(frozen=True, kw_only=True)
class UserState:
    """How a user feels in a conversation; computed from its turns and never stored.

    With the score s of a reply, which is good if s > clear_score and it is not almost the same
    as an earlier one:

        patience' = patience + good_gain * s                        if good
                    patience - turn_loss - bad_loss * max(0, -s)    otherwise

    clipped to [0, 1]. A reply without feedback is no news: it costs `turn_loss`. The user is
    content after `good_replies_needed` good replies in all, and fed up when its patience is gone.

    Source: our own.
    """

    patience: float
    """What is left of it, in [0, 1]."""
    good_replies: int = 0
    """Replies that brought the user further."""
    scores: tuple[float, ...] = ()
    """Scores of the replies so far that got feedback, each in [-1, 1]."""

    @classmethod
    def begin(cls, seed: int, config: ConversationConfig) -> UserState:
        """The state before the first reply; `seed` decides how patient the user is."""
        drawn = np.random.default_rng([seed, PATIENCE_STREAM]).uniform(*config.initial_patience)
        return cls(patience=float(drawn))

    @classmethod
    def of(cls, episode: Episode, score: float | None, config: ConversationConfig) -> UserState:
        """The state after a reply.

        Args:
            episode: The reply, and the turns before it.
            score: The score of the reply, None if it gets no feedback; those of the turns are in
                their feedback.
            config: Constants of the user.
        """
        state = cls.begin(episode.seed, config)
        replies = [*(turn.reply for turn in episode.turns), episode.reply]
        scores = [*(given_score(turn.feedback) for turn in episode.turns), score]
        for index, own in enumerate(scores):
            state = state.after(own, repeats(replies[index], replies[:index]), config)
        return state

    def after(self, score: float | None, repeated: bool, config: ConversationConfig) -> UserState:
        """The state after one more reply.

        Args:
            score: Its score, in [-1, 1]; None if it gets no feedback.
            repeated: Whether it is almost the same as an earlier one.
            config: Constants of the user.
        """
        value = 0.0 if score is None else score
        good = value > config.clear_score and not repeated
        if good:
            patience = min(1.0, self.patience + config.good_gain * value)
        else:
            patience = self.patience - config.turn_loss - config.bad_loss * max(0.0, -value)
        return UserState(
            patience=patience if patience >= GONE else 0.0,
            good_replies=self.good_replies + good,
            scores=self.scores if score is None else (*self.scores, score),
        )

    def ending(self, config: ConversationConfig) -> Ending | None:
        """Why the user ends the conversation now, or None if it goes on."""
        if self.good_replies >= config.good_replies_needed:
            return "content"
        return None if self.patience else "fed up"

    def verdict(self, ending: Ending | None, config: ConversationConfig) -> float:
        """How content the user is with the whole conversation, if it ends now; in [-1, 1].

            verdict = (1 - outcome_weight) * mean score + outcome_weight * outcome

        where the outcome is 1 if the user is content, -1 if it is fed up, and 0 if the
        conversation ends for another reason. Without any feedback the mean is 0.
        """
        outcome = {"content": 1.0, "fed up": -1.0}.get(ending or "", 0.0)
        weight = config.outcome_weight
        verdict = (1.0 - weight) * sum(self.scores) / max(1, len(self.scores)) + weight * outcome
        return min(1.0, max(-1.0, verdict))


class ConversingUser:
    """Makes a user that scores replies hold a conversation.

    The inner user scores each reply. From the scores of all turns follow patience and content
    (`UserState`), and from these whether the user leaves, what it says (`remarks.compose`) and,
    when it leaves or the turn is the last one, the verdict. What the inner user says, whether it
    leaves and, at the end, its verdict take precedence; score, components and stance are always
    its own. A user that keeps feedback back until the last turn is asked again when the
    conversation ends before that: it then says what is outstanding, which changes the verdict but
    not the end.

    Nothing is remembered here: an episode holds its turns, and words and initial patience are
    drawn from `Episode.seed` and the number of the turn. So a row does not depend on its batch,
    and the same conversation always goes on in the same way.

    Attributes:
        user: The inner user.
        config: Constants of the conversation.
        converses: Marks a user that says what it has to say, and leaves when it wants to: it is
            not given words a second time. Any other user may have this mark, too.
        draws: Marks a user whose answers, here words and patience, are drawn for each episode.
    """

    converses = True
    draws = True

    def __init__(self, user: User, config: ConversationConfig | None = None) -> None:
        self.user = user
        self.config = config or ConversationConfig()

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """What of the inner user does nothing where an episode is a single reply."""
        return tuple(getattr(self.user, "needs_turns", ()))

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks the inner user for the whole batch; draws nothing from `rng` itself."""
        answers = self.user(episodes, rng)
        endings = [
            self._state(episode, answer).ending(self.config)
            for episode, answer in zip(episodes, answers, strict=True)
        ]
        if getattr(self.user, "settles", False):
            answers = self._settle(episodes, answers, endings, rng)
        return [
            self._react(episode, answer, ending)
            for episode, answer, ending in zip(episodes, answers, endings, strict=True)
        ]

    def _state(self, episode: Episode, answer: Feedback) -> UserState:
        return UserState.of(episode, given_score(answer), self.config)

    def _settle(
        self,
        episodes: Sequence[Episode],
        answers: Sequence[Feedback],
        endings: Sequence[Ending | None],
        rng: np.random.Generator,
    ) -> list[Feedback]:
        """Asks again where a conversation ends before its last turn, as if it were the last."""
        early = [
            index
            for index, (episode, answer, ending) in enumerate(
                zip(episodes, answers, endings, strict=True)
            )
            if ending is not None and not episode.last_turn and not answer.leaves
        ]
        settled = list(answers)
        if early:
            asked = self.user([replace(episodes[index], last_turn=True) for index in early], rng)
            for index, answer in zip(early, asked, strict=True):
                settled[index] = answer
        return settled

    def _react(self, episode: Episode, answer: Feedback, ending: Ending | None) -> Feedback:
        state = self._state(episode, answer)
        leaves = answer.leaves or ending is not None
        if ending is None and (leaves or episode.last_turn):
            ending = "out of time"
        situation = Situation.of(
            episode,
            answer,
            patience=state.patience,
            ending=ending,
            clear_score=self.config.clear_score,
        )
        words = np.random.default_rng([episode.seed, WORDS_STREAM, len(episode.turns)])
        own = answer.verdict
        verdict = state.verdict(ending, self.config) if own is None else own
        return replace(
            answer,
            says=answer.says or compose(situation, words),
            leaves=leaves,
            verdict=verdict if ending is not None else None,
        )


def given_score(feedback: Feedback) -> float | None:
    """The score of a feedback, None if it is not given."""
    return feedback.score if feedback.given else None


def make_conversing_user(
    user: AnyUser,
    llm: FrozenLLM,
    config: ConversationConfig | None = None,
) -> CheckedUser:
    """A user that holds conversations, from whatever `make_user` takes.

    Args:
        user: A name, an object or a function; one that is marked by `converses = True`, as a
            `ConversingUser` is, stays as it is.
        llm: The frozen LM that built-in users read replies with.
        config: Constants of the conversation, unless the user brings its own.

    Returns:
        The user, with every answer checked.

    Raises:
        UserError: If the name is unknown or the object is no user.
    """
    made = make_user(user, llm)
    if made.converses:
        return made
    return CheckedUser(made.name, ConversingUser(made, config))
