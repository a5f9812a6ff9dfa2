"""Who reads emotions in texts that a steered model wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

import numpy as np

from erm_gym.emotion import EMOTIONS, EmotionalCritic
from erm_gym.emotion.generation import read_emotional
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.steering.settings import about_critic
from erm_gym.llm import FrozenLLM

NRC_CATEGORIES = {"fear": "fear", "joy": "joy", "anger": "anger", "curiosity": "anticipation"}
"""Categories of the lexicon by emotion; it has none for curiosity: *anticipation* is nearest."""
READERS = ("critic", "lexicon")
"""Who reads replies."""
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


class EmotionReader(Protocol):
    """Tells how much of an emotion is in texts."""

    name: str
    about: str
    """Tells it from others of the name."""

    def __call__(self, texts: Sequence[str], emotion: str) -> np.ndarray:
        """How much, `[N]` float64; nan of a text that says nothing."""


class CriticReader:
    """The emotional critic, reading with the model that is not steered.

    How much of an emotion: the mean over the text's tokens of what the critic feels, in [0, 1].
    """

    name = "critic"

    def __init__(self, llm: FrozenLLM, critic: EmotionalCritic) -> None:
        """Reads with a frozen LM, and the critic that belongs to it."""
        self._llm = llm
        self._critic = critic
        self._read: dict[str, np.ndarray] = {}
        self.about = about_critic(critic)

    def __call__(self, texts: Sequence[str], emotion: str) -> np.ndarray:
        """How much, `[N]`; a text is read once for all emotions."""
        place = EMOTIONS.index(emotion)
        return np.array([self._all(text)[place] for text in texts])

    def _all(self, text: str) -> np.ndarray:
        if text not in self._read:
            found = np.full(len(EMOTIONS), np.nan)
            if text.strip():
                read = read_emotional(self._llm, self._critic, text)
                found = read.signals.tensor.mean(dim=0).double().cpu().numpy()
            self._read[text] = found
        return self._read[text]


class LexiconReader:
    """The NRC word-emotion lexicon, which knows nothing of the model.

    How much of an emotion: the share of the text's words that the lexicon has under it.

    Source: Mohammad and Turney 2013, "Crowdsourcing a word-emotion association lexicon"; the
    package NRCLex. The lexicon is for research.
    """

    name = "lexicon"

    def __init__(self) -> None:
        """Loads the lexicon.

        Raises:
            RunError: If the package is missing.
        """
        try:
            from nrclex import NRCLex  # type: ignore[import-untyped]
        except ImportError as error:
            raise RunError(
                "to read emotions by a lexicon, install one: pip install 'erm-gym[lexicon]'"
            ) from error
        self._lexicon = NRCLex()
        self.about = f"nrclex {version('nrclex')}"

    def __call__(self, texts: Sequence[str], emotion: str) -> np.ndarray:
        """How much, `[N]` in [0, 1]."""
        return np.array([self._share(text, NRC_CATEGORIES[emotion]) for text in texts])

    def _share(self, text: str, category: str) -> float:
        words = WORD.findall(text.lower())
        if not words:
            return float("nan")
        self._lexicon.load_token_list(words)
        return float(self._lexicon.raw_emotion_scores.get(category, 0) / len(words))
