"""Users that read words alone: sentiment and toxicity."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from erm_gym.feedback import Episode, Feedback, Prompt, User, UserError
from erm_gym.feedback.users.sentiment import SentimentUser
from erm_gym.feedback.users.toxicity import ToxicityUser
from erm_gym.llm import FrozenLLM

KIND = "What a wonderful idea, I would love to help you!"
RUDE = "You are a stupid idiot, shut the fuck up."
PLAIN = "The train leaves at nine."


@pytest.fixture(params=[SentimentUser, ToxicityUser])
def user(request: pytest.FixtureRequest, llm: FrozenLLM) -> User:
    made: User = request.param.for_llm(llm)
    return made


def ask(user: User, replies: Sequence[str]) -> list[Feedback]:
    episodes = [Episode(prompt=Prompt(text="Well?"), reply=reply) for reply in replies]
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    feedback = user(episodes, rng)
    assert rng.bit_generator.state == before  # it draws nothing
    return feedback


def test_kind_words_beat_rude_ones(user: User) -> None:
    kind, plain, rude = ask(user, [KIND, PLAIN, RUDE])
    assert kind.score > 0.5 and rude.score < -0.5
    assert kind.score >= plain.score > rude.score


def test_a_batch_is_many_single_replies(user: User) -> None:
    replies = [KIND, "", RUDE, PLAIN, "é 你好 🙂", "   ", "a" * 5000]
    together = ask(user, replies)
    for reply, feedback in zip(replies, together, strict=True):
        (alone,) = ask(user, [reply])
        assert feedback.score == pytest.approx(alone.score, abs=1e-12)
        assert sum(feedback.components.values()) == pytest.approx(feedback.score)


@pytest.mark.parametrize(
    ("reply", "valence"),
    [
        ("good", 1.9),  # as the lexicon has it
        ("bad", -2.5),
        ("good bad", 1.9 - 2.5),
        ("not good", -0.74 * 1.9),  # a negation turns and dampens
        ("good!", 1.9 + 0.292),  # an exclamation mark adds
        ("table", 0.0),
        ("", 0.0),
    ],
)
def test_sentiment_by_hand(llm: FrozenLLM, reply: str, valence: float) -> None:
    (feedback,) = ask(SentimentUser.for_llm(llm), [reply])
    compound = valence / math.sqrt(valence**2 + 15.0)
    assert feedback.score == pytest.approx(compound, abs=1e-4)  # VADER rounds to four digits
    assert dict(feedback.components) == {
        "positive": max(feedback.score, 0.0),
        "negative": min(feedback.score, 0.0),
    }


def test_toxicity_is_the_probability(llm: FrozenLLM) -> None:
    from profanity_check import predict_prob  # type: ignore[import-untyped]

    for p, feedback in zip(
        predict_prob([KIND, RUDE]), ask(ToxicityUser.for_llm(llm), [KIND, RUDE]), strict=True
    ):
        assert feedback.score == pytest.approx(1.0 - 2.0 * p)
        assert dict(feedback.components) == pytest.approx({"clean": 1.0 - p, "toxic": -p})


def test_toxicity_asks_once_for_a_batch(llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    user = ToxicityUser.for_llm(llm)
    asked: list[int] = []

    def classify(texts: list[str]) -> np.ndarray:
        asked.append(len(texts))
        return np.array([0.25, 0.75, 1.0 + 1e-9])

    monkeypatch.setattr(user, "_probabilities", classify)
    assert [each.score for each in ask(user, [KIND, RUDE, PLAIN])] == [0.5, -0.5, -1.0]
    assert asked == [3]


def test_the_classifier_loads_late_and_without_a_warning(tmp_path: Path) -> None:
    """With the installed scikit-learn, in a process that takes every warning for an error."""
    program = (
        "import sys\n"
        "from erm_gym.feedback.users.toxicity import ToxicityUser\n"
        "assert 'profanity_check' not in sys.modules and 'sklearn' not in sys.modules\n"
        "import warnings; warnings.simplefilter('error')\n"
        "import numpy as np\n"
        "from erm_gym.feedback import Episode, Prompt\n"
        "episode = Episode(prompt=Prompt(text='?'), reply='you idiot')\n"
        "print(ToxicityUser()([episode], np.random.default_rng(0))[0].score < -0.5)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert result.stdout.strip() == "True", result.stderr


def test_a_classifier_of_another_version_is_named(
    llm: FrozenLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profanity_check").mkdir()
    (tmp_path / "profanity_check" / "__init__.py").write_text(
        "import warnings\n"
        "from sklearn.exceptions import InconsistentVersionWarning\n"
        "warnings.warn(InconsistentVersionWarning(estimator_name='Any',\n"
        "    current_sklearn_version='9', original_sklearn_version='8'))\n"
        "predict_prob = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "profanity_check", raising=False)
    with pytest.raises(
        UserError, match=r"(?s)'toxicity' cannot load its classifier: .*constraints\.txt"
    ):
        ToxicityUser.for_llm(llm)
    monkeypatch.delitem(sys.modules, "profanity_check", raising=False)
