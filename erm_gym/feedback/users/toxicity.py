"""The toxicity user: offended by insults and obscenity, content with everything else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.llm import FrozenLLM


class ToxicityUser:
    """Dislikes insults and obscenity: alt-profanity-check's trained classifier.

    With the probability p that the reply is offensive:

        clean = 1 - p
        toxic = -p
        score = clean + toxic = 1 - 2 p

    An empty reply offends nobody and scores high: combine this user with one that wants help.
    The classifier is a linear SVM over word counts, so it knows words and no meaning. English only.

    Source: alt-profanity-check, a linear model of 200,000 labelled comments (its own figures:
    accuracy .95, F1 .88).
    """

    def __init__(self) -> None:
        self._probabilities = _classifier()

    @classmethod
    def for_llm(cls, llm: FrozenLLM) -> ToxicityUser:
        """The user; it reads text and needs nothing of the LM.

        Raises:
            UserError: If the classifier does not load with the installed scikit-learn.
        """
        return cls()

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Classifies the replies together; draws nothing from `rng`."""
        offensive = self._probabilities([episode.reply for episode in episodes])
        return [
            Feedback(score=1.0 - 2.0 * p, components={"clean": 1.0 - p, "toxic": -p})
            for p in np.clip(offensive, 0.0, 1.0).tolist()
        ]


def _classifier() -> Callable[[list[str]], np.ndarray]:
    """The package's own function; importing it loads scikit-learn and the weights."""
    try:
        with warnings.catch_warnings():
            # scikit-learn only warns when it reads weights of another version.
            warnings.filterwarnings("error", message="Trying to unpickle estimator")
            from profanity_check import predict_prob  # type: ignore[import-untyped]
    except (ImportError, AttributeError, UserWarning) as error:
        raise UserError(
            f"the user 'toxicity' cannot load its classifier: {error}; install alt-profanity-check "
            "and scikit-learn in the versions of constraints.txt"
        ) from error
    classify: Callable[[list[str]], np.ndarray] = predict_prob
    return classify
