"""What `erm-gym users new` writes: a user that works, and a test of it that passes."""

from __future__ import annotations

USER = '''\
"""A simulated user. Replace what it likes by what yours likes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erm_gym.feedback import Episode, Feedback
from erm_gym.llm import FrozenLLM


class CLASS:
    """Likes replies of about so many words that take up words of the question."""

    def __init__(self, words: int = 12) -> None:
        if words < 1:
            raise ValueError(f"words must be at least 1, got {words}")
        self.words = words

    @classmethod
    def for_llm(cls, llm: FrozenLLM, *, words: int = 12) -> CLASS:
        """Makes the user; keywords with plain values are its options: `MODULE:CLASS(words=8)`."""
        return cls(words)

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """One feedback for each finished reply, in their order."""
        return [self._react(episode) for episode in episodes]

    def _react(self, episode: Episode) -> Feedback:
        # Keep nothing between calls. What was said before is in `episode.turns`; what you draw,
        # draw from np.random.default_rng([episode.seed, len(episode.turns)]).
        reply = episode.reply.lower().split()
        asked = {word.strip("?!.,") for word in episode.prompt.text.lower().split()}
        taken_up = sum(word.strip("?!.,") in asked for word in reply) / max(1, len(reply))
        length = 0.5 - min(1.0, abs(len(reply) - self.words) / self.words)
        topic = taken_up - 0.5
        # Scores are in [-1, 1]; components add up to them. Feedback.silent() says nothing.
        return Feedback(score=length + topic, components={"length": length, "topic": topic})
'''

TEST = '''\
"""What CLASS makes of replies."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, UserError, make_user
from erm_gym.llm import load_llm
from MODULE import CLASS

ASKED = Prompt(text="May I feed bread to ducks?")


def ask(user: str, *replies: str) -> list[Feedback]:
    """What a user says of replies; asked as an environment asks it."""
    episodes = [Episode(prompt=ASKED, reply=reply) for reply in replies]
    return make_user(user, load_llm("tiny"))(episodes, np.random.default_rng(0))


def test_scores_by_hand() -> None:
    best, off, empty = ask("MODULE:CLASS(words=3)", "Feed ducks bread!", "No idea today.", "")
    assert best.components == {"length": 0.5, "topic": 0.5}
    assert off.components == {"length": 0.5, "topic": -0.5}
    assert [best.score, off.score, empty.score] == [1.0, 0.0, -1.0]


def test_a_reply_is_judged_alone() -> None:
    first, second = ask("MODULE:CLASS", "Bread is bad for ducks.", "Yes.")
    assert [first] == ask("MODULE:CLASS", "Bread is bad for ducks.")
    assert [second] == ask("MODULE:CLASS", "Yes.")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CLASS(words=0)
    with pytest.raises(UserError, match="unknown option 'wrods'"):
        ask("MODULE:CLASS(wrods=3)", "Yes.")
'''


def new_user(module: str, kind: str) -> tuple[str, str]:
    """The source of a user and of its test.

    Args:
        module: Name of the module that the user is in.
        kind: Name of its class.
    """
    user, test = (text.replace("CLASS", kind).replace("MODULE", module) for text in (USER, TEST))
    return user, test
